import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { Dek } from './dek.ts'
import {
  encryptPayload,
  PAYLOAD_HEADER_LENGTH,
  PayloadDecrypter,
  PayloadEncrypter,
  payloadLayout,
  segmentCiphertextRange,
  TAG_LENGTH,
} from './payload.ts'

interface Sealed {
  readonly keyHex: string
  readonly segmentSize: number
  readonly associatedDataHex: string
  readonly ciphertextBase64: string
}

interface Vector extends Sealed {
  readonly plaintextLength: number
}

interface Verdict {
  readonly plaintextSha256?: string
  readonly plaintextLength?: number
  readonly error?: string
}

const folder = new URL('../../../vectors/tink/', import.meta.url)
const { vectors } = JSON.parse(readFileSync(new URL('vectors.json', folder), 'utf8')) as {
  vectors: Vector[]
}
const cases = vectors.map(
  vector => [vector.segmentSize, vector.plaintextLength, vector] as [number, number, Vector],
)
const python = process.env['CLOISTER_PYTHON']

function plaintextOf(length: number): Buffer {
  return Buffer.from(Uint8Array.from({ length }, (_, i) => (i * 7 + 3) % 256))
}

function ciphertextOf(sealed: Sealed): Buffer {
  return Buffer.from(sealed.ciphertextBase64, 'base64')
}

function dekOf(sealed: Sealed): Dek {
  return Dek.from(Buffer.from(sealed.keyHex, 'hex'))
}

function optionsOf(sealed: Sealed) {
  return {
    dek: dekOf(sealed),
    associatedData: Buffer.from(sealed.associatedDataHex, 'hex'),
    segmentSize: sealed.segmentSize,
  }
}

/** Decrypts the segments in the order given, and returns them in the order of the plaintext. */
function decrypt(
  sealed: Sealed,
  ciphertext: Uint8Array,
  order: (indexes: number[]) => number[] = indexes => indexes,
): Buffer {
  const layout = payloadLayout(ciphertext.length, sealed.segmentSize)
  const header = ciphertext.subarray(0, PAYLOAD_HEADER_LENGTH)
  const decrypter = new PayloadDecrypter({ ...optionsOf(sealed), layout, header })
  const segments = new Map<number, Uint8Array>()
  for (const index of order(Array.from({ length: layout.segmentCount }, (_, i) => i))) {
    const { start, end } = segmentCiphertextRange(layout, index)
    segments.set(index, decrypter.decrypt(index, ciphertext.subarray(start, end)))
  }
  const sorted = [...segments].sort(([a], [b]) => a - b)
  const plaintext = Buffer.concat(sorted.map(([, segment]) => segment))
  expect(plaintext.length).toBe(layout.plaintextLength)
  return plaintext
}

function flip(bytes: Uint8Array, position: number): Buffer {
  const flipped = Buffer.from(bytes)
  flipped.writeUInt8(flipped.readUInt8(position) ^ (1 << (position % 8)), position)
  return flipped
}

/** Every byte of a small payload; of a large one, some in each part that is kept differently. */
function positionsToFlip(vector: Vector, length: number): number[] {
  if (length <= 600) return Array.from({ length }, (_, i) => i)
  const layout = payloadLayout(length, vector.segmentSize)
  const positions = [0, 1, 32, 33, PAYLOAD_HEADER_LENGTH - 1]
  for (let index = 0; index < layout.segmentCount; index++) {
    const { start, end } = segmentCiphertextRange(layout, index)
    positions.push(start, end - TAG_LENGTH - 1, end - TAG_LENGTH, end - 1)
  }
  return positions
}

/** Every vector's plaintext sealed by us: in one piece, a byte at a time, and as a stream. */
async function sealLike(vector: Vector): Promise<Buffer[]> {
  const plaintext = plaintextOf(vector.plaintextLength)
  const whole = new PayloadEncrypter(optionsOf(vector))
  const wholeSegments = [...whole.push(plaintext), whole.final()]
  const bytewise = new PayloadEncrypter(optionsOf(vector))
  const bytewiseSegments: Uint8Array[] = []
  for (let i = 0; i < plaintext.length; i++) {
    bytewiseSegments.push(...bytewise.push(plaintext.subarray(i, i + 1)))
  }
  bytewiseSegments.push(bytewise.final())
  const chunks: Uint8Array[] = []
  for (let i = 0; i < plaintext.length; i += 97) chunks.push(plaintext.subarray(i, i + 97))
  const streamed: Uint8Array[] = []
  for await (const part of encryptPayload(chunks, optionsOf(vector))) streamed.push(part)
  return [
    Buffer.concat([whole.header, ...wholeSegments]),
    Buffer.concat([bytewise.header, ...bytewiseSegments]),
    Buffer.concat(streamed),
  ]
}

function openWithTink(command: string, sealed: Sealed[]): Verdict[] {
  const script = fileURLToPath(new URL('verify.py', folder))
  const { error, status, stdout, stderr } = spawnSync(command, ['-B', script], {
    input: JSON.stringify(sealed),
    encoding: 'utf8',
    maxBuffer: 2 ** 26,
  })
  if (error) throw error
  expect(status, stderr).toBe(0)
  return JSON.parse(stdout) as Verdict[]
}

const isTagError = expect.objectContaining({ name: 'SealedFormatError', code: 'TAG' })

describe('payloads that Tink wrote', () => {
  it('has vectors to read', () => {
    expect(vectors.length).toBeGreaterThan(20)
  })

  it.each(cases)('opens segment size %i, length %i', (_size, length, vector) => {
    const plaintext = decrypt(vector, ciphertextOf(vector))
    expect(plaintext.equals(plaintextOf(length))).toBe(true)
  })

  it.each(cases)('opens it from the last segment: %i, %i', (_size, length, vector) => {
    const plaintext = decrypt(vector, ciphertextOf(vector), indexes => indexes.reverse())
    expect(plaintext.equals(plaintextOf(length))).toBe(true)
  })

  it.each(cases)('refuses it with a bit flipped: %i, %i', (_size, _length, vector) => {
    const ciphertext = ciphertextOf(vector)
    for (const position of positionsToFlip(vector, ciphertext.length)) {
      const flipped = flip(ciphertext, position)
      expect(() => decrypt(vector, flipped), `byte ${position}`).toThrow(isTagError)
    }
  })

  it.each(cases)('refuses it for other associated data: %i, %i', (_size, _length, vector) => {
    const other = { ...vector, associatedDataHex: `${vector.associatedDataHex}00` }
    expect(() => decrypt(other, ciphertextOf(vector))).toThrow(isTagError)
  })

  it.each(cases.filter(([size, , vector]) => ciphertextOf(vector).length > size))(
    'refuses it without its last segment: %i, %i',
    (size, _length, vector) => {
      const ciphertext = ciphertextOf(vector)
      const { segmentCount } = payloadLayout(ciphertext.length, size)
      const cut = ciphertext.subarray(0, (segmentCount - 1) * size)
      expect(() => decrypt(vector, cut)).toThrow(isTagError)
    },
  )
})

describe('payloads that we wrote', () => {
  it.each(cases)('are as long as what Tink writes: %i, %i', async (_size, length, vector) => {
    for (const ciphertext of await sealLike(vector)) {
      expect(ciphertext.length).toBe(ciphertextOf(vector).length)
      expect(decrypt(vector, ciphertext).equals(plaintextOf(length))).toBe(true)
    }
  })

  it.skipIf(python === undefined)(
    'are opened by Tink, and not with a bit flipped (skipped unless CLOISTER_PYTHON is set)',
    async () => {
      const sealed: Sealed[] = []
      const expected: Verdict[] = []
      for (const vector of vectors) {
        const plaintext = plaintextOf(vector.plaintextLength)
        const plaintextSha256 = createHash('sha256').update(plaintext).digest('hex')
        for (const ciphertext of await sealLike(vector)) {
          sealed.push({ ...vector, ciphertextBase64: ciphertext.toString('base64') })
          expected.push({ plaintextSha256, plaintextLength: plaintext.length })
          const flipped = flip(ciphertext, ciphertext.length - 1)
          sealed.push({ ...vector, ciphertextBase64: flipped.toString('base64') })
          expected.push({ error: expect.stringMatching(/^TinkError: /) })
        }
      }
      expect(openWithTink(python ?? '', sealed)).toEqual(expected)
    },
  )
})
