import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Dek } from './dek.ts'
import { SealedFormatError } from './errors.ts'
import {
  datasetIdFrom,
  encodeSealedHeader,
  encodeWrapContext,
  fileIdFrom,
  fixedPart,
  parseSealedHeader,
  type Slot,
  slotFor,
  verifyHeader,
} from './header.ts'

const dek = Dek.from(new Uint8Array(32).fill(7))
const fixed = fixedPart({
  fileId: fileIdFrom('0f'.repeat(16)),
  datasetId: datasetIdFrom('a0'.repeat(16)),
  part: 3,
  mediaType: 'text/csv; header="present"',
})
const slot: Slot = {
  kmsId: 'kms-1',
  cmkId: 'cmk-1',
  cmkVersion: 2,
  wrappedDek: new Uint8Array(60).fill(9),
}
const encoded = encodeSealedHeader({ fixed, slots: [slot], dek })

function code(action: () => unknown): string {
  try {
    action()
  } catch (error) {
    if (error instanceof SealedFormatError) return error.code
    throw error
  }
  return 'none'
}

/** Replaces the fixed JSON, keeping the rest, without a valid MAC. */
function withJson(json: string): Uint8Array {
  const { fixedBytes, macInput, mac } = parseSealedHeader(encoded)
  const bytes = Buffer.alloc(4096)
  const text = Buffer.from(json)
  encoded.subarray(0, 14).forEach((byte, i) => {
    bytes[i] = byte
  })
  bytes.writeUInt32BE(text.length, 14)
  Buffer.concat([text, macInput.subarray(fixedBytes.length), mac]).copy(bytes, 18)
  return Uint8Array.from(bytes)
}

describe('header', () => {
  it('round-trips', () => {
    const header = verifyHeader(parseSealedHeader(encoded), dek)
    expect(encoded.length).toBe(4096)
    expect(header.fixed).toEqual(fixed)
    expect(header.slots).toEqual([slot])
    expect(slotFor(header, 'kms-1').cmkId).toBe('cmk-1')
    expect(code(() => slotFor(header, 'kms-2'))).toBe('NO_SLOT')
  })

  it('refuses every single bit flip', () => {
    for (let bit = 0; bit < encoded.length * 8; bit += 1) {
      const forged = encoded.slice()
      forged[bit >> 3] = (encoded[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      expect(code(() => verifyHeader(parseSealedHeader(forged), dek))).not.toBe('none')
    }
  })

  it('refuses the wrong key, cuts and trailing bytes', () => {
    expect(code(() => verifyHeader(parseSealedHeader(encoded), Dek.generate()))).toBe('HEADER_MAC')
    for (let length = 0; length < 4096; length += 1) {
      expect(code(() => parseSealedHeader(encoded.subarray(0, length)))).toBe('TRUNCATED')
    }
    expect(code(() => parseSealedHeader(Buffer.concat([encoded, Buffer.alloc(1)])))).toBe(
      'TRAILING_BYTES',
    )
  })

  it('demands canonical JSON with exactly the known fields', () => {
    const json = Buffer.from(parseSealedHeader(encoded).fixedBytes.subarray(18)).toString()
    expect(code(() => parseSealedHeader(withJson(json)))).toBe('none')
    for (const [other, expected] of [
      [json.replace(':3,', ': 3,'), 'HEADER'],
      [json.replace('"part":3', '"part":3,"part":3'), 'HEADER'],
      [json.replace('"part":3', '"part":3,"quirk":1'), 'HEADER'],
      [json.replace('"part":3', '"part":3.0'), 'HEADER'],
      [json.replace('"part":3', '"part":-1'), 'HEADER'],
      [json.replace('"part":3,', ''), 'HEADER'],
      [json.replace('0f0f', '0F0f'), 'HEADER'],
      [json.replace('"none"', '"zstd"'), 'COMPRESSED'],
      [json.replace('65536', '16'), 'LIMIT'],
      [`\ufeff${json}`, 'HEADER'],
      [json + ' '.repeat(1024), 'LIMIT'],
    ] as const) {
      expect(code(() => parseSealedHeader(withJson(other)))).toBe(expected)
    }
  })

  it('grows by 4096 bytes and stops at 65536', () => {
    const big = { ...slot, wrappedDek: new Uint8Array(4096) }
    expect(encodeSealedHeader({ fixed, slots: [big], dek }).length).toBe(8192)
    expect(code(() => encodeSealedHeader({ fixed, slots: Array(16).fill(big), dek }))).toBe('LIMIT')
    expect(code(() => encodeSealedHeader({ fixed, slots: [], dek }))).toBe('NO_SLOT')
  })

  it('gives a header or a SealedFormatError for any bytes', () => {
    const mutated = fc
      .array(fc.tuple(fc.nat(400), fc.nat(255)), { maxLength: 8 })
      .map(edits =>
        edits.reduce((bytes, [at, value]) => bytes.fill(value, at, at + 1), encoded.slice()),
      )
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 5000 }), mutated), bytes => {
        code(() => parseSealedHeader(bytes))
      }),
      { numRuns: 2000 },
    )
  })

  it('gives each wrap context its own bytes', () => {
    const { fixedDigest } = parseSealedHeader(encoded)
    const base = {
      cmkId: 'cmk',
      cmkVersion: 1,
      datasetId: fixed.datasetId,
      fileId: fixed.fileId,
      fixedDigest,
    }
    const contexts = [
      base,
      { ...base, cmkId: 'cmk1' },
      { ...base, cmkVersion: 2 },
      { ...base, fileId: fileIdFrom(fixed.datasetId) },
      { ...base, datasetId: datasetIdFrom(fixed.fileId) },
    ].map(context => Buffer.from(encodeWrapContext(context)).toString('hex'))
    expect(new Set(contexts).size).toBe(contexts.length)
  })
})
