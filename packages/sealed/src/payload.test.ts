import { randomBytes } from 'node:crypto'
import { inspect } from 'node:util'
import { describe, expect, it } from 'vitest'
import { Dek } from './dek.ts'
import {
  ciphertextLength,
  encryptPayload,
  PAYLOAD_HEADER_LENGTH,
  PayloadDecrypter,
  payloadLayout,
  plaintextLength,
  segmentCiphertextRange,
} from './payload.ts'

const associatedData = new TextEncoder().encode('aad')

async function encrypt(dek: Dek, plaintext: Uint8Array, segmentSize: number, piece: number) {
  const pieces: Uint8Array[] = []
  for (let at = 0; at < plaintext.length; at += piece) {
    pieces.push(plaintext.subarray(at, at + piece))
  }
  const out: Uint8Array[] = []
  for await (const bytes of encryptPayload(pieces, { dek, associatedData, segmentSize })) {
    out.push(bytes)
  }
  return Uint8Array.from(Buffer.concat(out))
}

function decrypt(dek: Dek, payload: Uint8Array, segmentSize: number): Uint8Array {
  const layout = payloadLayout(payload.length, segmentSize)
  const header = payload.subarray(0, PAYLOAD_HEADER_LENGTH)
  const decrypter = new PayloadDecrypter({ dek, associatedData, layout, header })
  const parts = Array.from({ length: layout.segmentCount }, (_, index) => {
    const { start, end } = segmentCiphertextRange(layout, index)
    return decrypter.decrypt(index, payload.subarray(start, end))
  })
  return Uint8Array.from(Buffer.concat(parts))
}

describe('payload', () => {
  it('round-trips at every length around the segment boundaries', async () => {
    const dek = Dek.generate()
    for (let size = 0; size <= 700; size += 1) {
      const plaintext = new Uint8Array(randomBytes(size))
      const payload = await encrypt(dek, plaintext, 256, 1 + (size % 300))
      expect(payload.length).toBe(ciphertextLength(size, 256))
      expect(plaintextLength(payload.length, 256)).toBe(size)
      expect(decrypt(dek, payload, 256)).toEqual(plaintext)
    }
  })

  it('refuses lengths that no payload has', () => {
    const possible = new Set(Array.from({ length: 800 }, (_, size) => ciphertextLength(size, 256)))
    for (let length = 0; length < 800; length += 1) {
      if (possible.has(length))
        expect(ciphertextLength(plaintextLength(length, 256), 256)).toBe(length)
      else expect(() => plaintextLength(length, 256)).toThrowError(/cannot be/)
    }
  })

  it('refuses swapped and repeated segments', async () => {
    const dek = Dek.generate()
    const payload = await encrypt(dek, new Uint8Array(randomBytes(1000)), 256, 1000)
    const swapped = payload.slice()
    swapped.set(payload.subarray(256, 512), 512)
    swapped.set(payload.subarray(512, 768), 256)
    const repeated = payload.slice()
    repeated.set(payload.subarray(256, 512), 512)
    const longer = Uint8Array.from(
      Buffer.concat([payload.subarray(0, 512), payload.subarray(256, 512), payload.subarray(512)]),
    )
    for (const forged of [swapped, repeated, longer, payload.subarray(0, 768)]) {
      expect(() => decrypt(dek, forged, 256)).toThrowError(expect.objectContaining({ code: 'TAG' }))
    }
  })

  it('never prints a key', () => {
    const bytes = new Uint8Array(32).fill(0xab)
    const dek = Dek.from(bytes)
    for (const shown of [`${dek}`, JSON.stringify({ dek }), inspect({ dek })]) {
      expect(shown).toContain('[Dek]')
      expect(shown).not.toMatch(/ab|171/)
    }
    expect(dek.exposeBytes()).toEqual(bytes)
    dek.dispose()
    expect(() => dek.exposeBytes()).toThrow()
    expect(() => Dek.from(new Uint8Array(31))).toThrow()
  })
})
