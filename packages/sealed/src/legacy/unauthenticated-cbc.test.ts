import { createCipheriv, createHmac, randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readUnauthenticatedCbc } from './unauthenticated-cbc.ts'

const KEYS = [randomBytes(32), randomBytes(16)].map(key => key.toString('base64'))
const IV = randomBytes(16)
const WRAPPED = Buffer.from('a wrapped data key, as its service gave it')

let folder: string
let file: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cloister-cbc-'))
  file = join(folder, 'part.csv.cbc')
})
afterAll(() => rm(folder, { recursive: true }))

/** As the older stack writes it, by the bytes of its source. */
function bodyOf(plaintext: Uint8Array, text: string): Buffer {
  const secret = Buffer.concat([Buffer.from(text), Buffer.alloc(32)]).subarray(0, 32)
  const cipher = createCipheriv('aes-128-cbc', secret.subarray(16), IV)
  const body = Buffer.concat([cipher.update(plaintext), cipher.final()])
  return Buffer.concat([body, createHmac('sha256', secret.subarray(0, 16)).update(body).digest()])
}

const LAYOUTS = {
  'of 25 bytes': () => Buffer.concat([Buffer.from([0x80, 0, 0, 0, 0, 0x63, 1, 2, 3]), IV]),
  'of 400 bytes': () => {
    const header = Buffer.alloc(400, 0x80)
    header.writeInt32BE(WRAPPED.length, 0)
    header.writeInt32BE(16, 4)
    WRAPPED.copy(header, 8)
    IV.copy(header, 8 + WRAPPED.length)
    return header
  },
}

async function read(bytes: Uint8Array, key: string): Promise<Buffer> {
  await writeFile(file, bytes)
  const chunks: Uint8Array[] = []
  for await (const chunk of readUnauthenticatedCbc(file, key)) chunks.push(chunk)
  return Buffer.concat(chunks)
}

describe.each(Object.entries(LAYOUTS))('a .cbc file with a header %s', (_, header) => {
  it.each(KEYS)('is read under a data key of its text', async key => {
    for (const length of [0, 1, 15, 16, 17, 3_000_000]) {
      const plaintext = randomBytes(length)
      const seen = await read(Buffer.concat([header(), bodyOf(plaintext, key)]), key)
      expect(seen.equals(plaintext), `${length} bytes`).toBe(true)
    }
  })

  it('is refused where it is cut, and is none of a sealed file', async () => {
    const [key = ''] = KEYS
    const whole = Buffer.concat([header(), bodyOf(Buffer.from('name,age\n'), key)])
    for (let length = 0; length < whole.length; length++) {
      await expect(read(whole.subarray(0, length), key)).rejects.toMatchObject({
        code: 'CBC_LAYOUT',
      })
    }
    const sealed = Buffer.concat([Buffer.from('CLSF'), whole])
    await expect(read(sealed, key)).rejects.toMatchObject({ code: 'CBC_LAYOUT' })
  })

  it('has what was changed: the format does not tell', async () => {
    const [key = ''] = KEYS
    const plaintext = Buffer.alloc(64, 'a')
    const whole = Buffer.concat([header(), bodyOf(plaintext, key)])
    const at = header().length + 16
    whole[at] = (whole[at] ?? 0) ^ 1
    const seen = await read(whole, key)
    expect(seen).toHaveLength(64)
    expect(seen).not.toEqual(plaintext)
  })
})

describe('a data key', () => {
  it.each(['', 'c2hvcnQ=', 'with a space in its text', 'x'.repeat(100)])('is not %o', async key => {
    await expect(read(Buffer.alloc(500), key)).rejects.toMatchObject({ code: 'CBC_KEY' })
  })
})
