import { readFile } from 'node:fs/promises'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { KmsClient } from '../../client/kms-client.ts'
import { decryptMessage } from '../../client/message.ts'
import {
  encodeCiphertext,
  encodeCiphertextContext,
  parseCiphertext,
} from '../../protocol/ciphertext.ts'
import { KmsError } from '../../protocol/errors.ts'
import { KeyWrap } from '../root/index.ts'

const PAGE = new URL('../../../../../docs/formats/ciphertext.md', import.meta.url)

/** The hexadecimal blocks of the page, in their order. */
async function vectors(): Promise<readonly Buffer[]> {
  const page = await readFile(PAGE, 'utf8')
  return [...page.matchAll(/^```\n([0-9a-f]+)\n```$/gm)].map(([, hex = '']) =>
    Buffer.from(hex, 'hex'),
  )
}

describe('the ciphertext format', () => {
  it('has the vectors that its page has', async () => {
    const [associated, ciphertext, message] = await vectors()
    if (associated === undefined || ciphertext === undefined || message === undefined) {
      throw new Error('the page has three blocks')
    }
    const parsed = parseCiphertext(ciphertext)
    expect(parsed).toMatchObject({ keyId: '7f0c2a6e-3b1d-4c5e-8f90-a1b2c3d4e5f6', keyVersion: 3 })
    const context = encodeCiphertextContext(parsed, { table: 'people', a: 'b' })
    expect(Buffer.from(context).equals(associated)).toBe(true)
    const key = new KeyWrap(Uint8Array.from({ length: 32 }, (_, at) => at))
    expect(Buffer.from(key.unwrap(parsed.sealed, context) ?? []).toString()).toBe('hello')
    expect(Buffer.from(encodeCiphertext(parsed)).equals(ciphertext)).toBe(true)
    // A client that gives the data key of the page for its ciphertext, and for no other.
    const client = {
      decrypt: async (bytes: Uint8Array) => {
        expect(Buffer.from(bytes).equals(ciphertext)).toBe(true)
        return new Uint8Array(32).fill(5)
      },
    } satisfies Pick<KmsClient, 'decrypt'>
    const opened = await decryptMessage(client, message)
    expect(Buffer.from(opened).toString()).toBe('bytes of any length')
  })

  it('reads what it writes, and any other bytes with one code', () => {
    const parts = fc.record({
      keyId: fc.uuid(),
      keyVersion: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
      sealed: fc.uint8Array({ maxLength: 80 }),
    })
    fc.assert(
      fc.property(parts, made => {
        expect(parseCiphertext(encodeCiphertext(made))).toEqual(made)
      }),
    )
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), bytes => {
        try {
          expect(encodeCiphertext(parseCiphertext(bytes))).toEqual(bytes)
        } catch (error) {
          expect(error).toBeInstanceOf(KmsError)
          expect(error).toMatchObject({ code: 'CIPHERTEXT_INVALID' })
        }
      }),
    )
  })

  it('binds contexts in one way, whatever their order, and no two alike', () => {
    const place = { keyId: '7f0c2a6e-3b1d-4c5e-8f90-a1b2c3d4e5f6', keyVersion: 1 }
    const contexts = fc.dictionary(fc.string(), fc.string(), { maxKeys: 5 })
    fc.assert(
      fc.property(contexts, contexts, (one, two) => {
        const reversed = Object.fromEntries(Object.entries(one).reverse())
        const bytes = encodeCiphertextContext(place, one)
        expect(encodeCiphertextContext(place, reversed)).toEqual(bytes)
        const same =
          JSON.stringify(Object.entries(one).sort()) === JSON.stringify(Object.entries(two).sort())
        const other = encodeCiphertextContext(place, two)
        expect(Buffer.from(other).equals(bytes)).toBe(same)
      }),
    )
    for (const wrong of [{ a: '\ud800' }, { '\udfff': 'a' }, { a: 'x'.repeat(8200) }]) {
      expect(() => encodeCiphertextContext(place, wrong)).toThrow(KmsError)
    }
  })
})
