import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { hexOf } from '../bytes/text.ts'
import { QuoteFormatError, type QuoteFormatErrorCode } from '../errors.ts'
import { encodeSgxReportBody, parseSgxReportBody, type SgxReportBody } from '../sgx/report-body.ts'
import { encodeQuote, parseQuote, type QuoteFields } from './quote.ts'
import { MAX_SIGNATURE_DATA } from './signature-data.ts'

const BODY_AT = 48
const LENGTH_AT = 432
const SIGNATURE_AT = 436
const AUTH_LENGTH_AT = SIGNATURE_AT + 576
const AUTH_SIZE = 32
const CERT_TYPE_AT = AUTH_LENGTH_AT + 2 + AUTH_SIZE
const CERT_SIZE_AT = CERT_TYPE_AT + 2
const CERT_SIZE = 10

/** Bytes that differ from place to place, so that a swapped field shows. */
const pattern = (length: number, seed: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (i * 7 + seed) & 0xff)

/** A quote written out by offset, without the encoder. */
function handBuilt(): Uint8Array {
  const bytes = new Uint8Array(CERT_SIZE_AT + 4 + CERT_SIZE)
  const view = new DataView(bytes.buffer)
  view.setUint16(0, 3, true)
  view.setUint16(2, 2, true)
  view.setUint16(8, 0x0102, true)
  view.setUint16(10, 0x0304, true)
  bytes.set(pattern(36, 1), 12)
  bytes.set(pattern(384, 2), BODY_AT)
  view.setUint32(LENGTH_AT, bytes.length - SIGNATURE_AT, true)
  bytes.set(pattern(576, 3), SIGNATURE_AT)
  view.setUint16(AUTH_LENGTH_AT, AUTH_SIZE, true)
  bytes.set(pattern(AUTH_SIZE, 4), AUTH_LENGTH_AT + 2)
  view.setUint16(CERT_TYPE_AT, 5, true)
  view.setUint32(CERT_SIZE_AT, CERT_SIZE, true)
  bytes.set(pattern(CERT_SIZE, 5), CERT_SIZE_AT + 4)
  return bytes
}

function edited(edit: (view: DataView) => void): Uint8Array {
  const bytes = handBuilt()
  edit(new DataView(bytes.buffer))
  return bytes
}

function refusal(action: () => unknown): QuoteFormatErrorCode {
  try {
    action()
  } catch (error) {
    if (error instanceof QuoteFormatError) return error.code
    throw error
  }
  throw new Error('was not refused')
}

const exactly = (length: number) => fc.uint8Array({ minLength: length, maxLength: length })
const u16 = fc.nat(0xffff)
const u64 = fc.bigInt(0n, 0xffffffffffffffffn)

const reportBodies: fc.Arbitrary<SgxReportBody> = fc.record({
  cpuSvn: exactly(16),
  miscSelect: fc.nat(0xffffffff),
  reserved1: exactly(12),
  isvExtProdId: exactly(16),
  attributes: fc.record({ flags: u64, xfrm: u64 }),
  mrEnclave: exactly(32),
  reserved2: exactly(32),
  mrSigner: exactly(32),
  reserved3: exactly(32),
  configId: exactly(64),
  isvProdId: u16,
  isvSvn: u16,
  configSvn: u16,
  reserved4: exactly(42),
  isvFamilyId: exactly(16),
  reportData: exactly(64),
})

const quotes: fc.Arbitrary<QuoteFields> = fc.record({
  header: fc.record({
    version: fc.constant(3 as const),
    attestationKeyType: fc.constant(2 as const),
    teeType: fc.constant('sgx' as const),
    qeSvn: u16,
    pceSvn: u16,
    qeVendorId: exactly(16),
    userData: exactly(20),
  }),
  body: fc.record({ kind: fc.constant('enclave' as const), report: reportBodies }),
  signature: exactly(64),
  attestationKey: exactly(64),
  qeReport: reportBodies,
  qeReportSignature: exactly(64),
  qeAuthData: fc.uint8Array({ maxLength: 300 }),
  certificationData: fc.record({
    type: fc.constantFrom(4 as const, 5 as const),
    data: fc.uint8Array({ maxLength: 500 }),
  }),
})

describe('parseQuote', () => {
  it('reads every field from its offset', () => {
    const bytes = handBuilt()
    const quote = parseQuote(bytes)
    const at = (start: number, size: number) => bytes.slice(start, start + size)
    expect(quote.header).toEqual({
      version: 3,
      attestationKeyType: 2,
      teeType: 'sgx',
      qeSvn: 0x0102,
      pceSvn: 0x0304,
      qeVendorId: at(12, 16),
      userData: at(28, 20),
    })
    const view = new DataView(bytes.buffer)
    const body = (start: number): SgxReportBody => ({
      cpuSvn: at(start, 16),
      miscSelect: view.getUint32(start + 16, true),
      reserved1: at(start + 20, 12),
      isvExtProdId: at(start + 32, 16),
      attributes: {
        flags: view.getBigUint64(start + 48, true),
        xfrm: view.getBigUint64(start + 56, true),
      },
      mrEnclave: at(start + 64, 32),
      reserved2: at(start + 96, 32),
      mrSigner: at(start + 128, 32),
      reserved3: at(start + 160, 32),
      configId: at(start + 192, 64),
      isvProdId: view.getUint16(start + 256, true),
      isvSvn: view.getUint16(start + 258, true),
      configSvn: view.getUint16(start + 260, true),
      reserved4: at(start + 262, 42),
      isvFamilyId: at(start + 304, 16),
      reportData: at(start + 320, 64),
    })
    expect(quote.body).toEqual({ kind: 'enclave', report: body(BODY_AT) })
    expect(quote.signature).toEqual(at(SIGNATURE_AT, 64))
    expect(quote.attestationKey).toEqual(at(SIGNATURE_AT + 64, 64))
    expect(quote.qeReport).toEqual(body(SIGNATURE_AT + 128))
    expect(quote.qeReportBytes).toEqual(at(SIGNATURE_AT + 128, 384))
    expect(quote.qeReportSignature).toEqual(at(SIGNATURE_AT + 512, 64))
    expect(quote.qeAuthData).toEqual(pattern(AUTH_SIZE, 4))
    expect(quote.certificationData).toEqual({ type: 5, data: pattern(CERT_SIZE, 5) })
    expect(quote.signedBytes).toEqual(at(0, LENGTH_AT))
    expect(quote.length).toBe(bytes.length)
  })

  it('copies nothing', () => {
    const bytes = handBuilt()
    const quote = parseQuote(bytes)
    expect(quote.signedBytes.buffer).toBe(bytes.buffer)
    expect(quote.qeAuthData.buffer).toBe(bytes.buffer)
  })

  it('reads a Buffer inside a larger one, into plain arrays', () => {
    const bytes = handBuilt()
    const padded = Buffer.concat([Buffer.alloc(13, 0xff), bytes])
    const quote = parseQuote(padded.subarray(13))
    expect(quote).toEqual(parseQuote(bytes))
    expect(Buffer.isBuffer(quote.signedBytes)).toBe(false)
  })

  it('ignores what follows the quote', () => {
    const bytes = handBuilt()
    const longer = new Uint8Array(8000).fill(0xa5)
    longer.set(bytes)
    expect(parseQuote(longer)).toEqual(parseQuote(bytes))
    expect(encodeQuote(parseQuote(longer))).toEqual(bytes)
  })

  it('refuses a quote cut at any offset', () => {
    const bytes = handBuilt()
    for (let end = 0; end < bytes.length; end++) {
      expect(
        refusal(() => parseQuote(bytes.subarray(0, end))),
        `cut at ${end}`,
      ).toBe('TRUNCATED')
    }
  })

  it.each<[string, QuoteFormatErrorCode, (view: DataView) => void]>([
    ['version 2', 'VERSION', view => view.setUint16(0, 2, true)],
    ['key type 3', 'KEY_TYPE', view => view.setUint16(2, 3, true)],
    ['TEE type 0x81', 'TEE_TYPE', view => view.setUint32(4, 0x81, true)],
    ['certification data type 0', 'CERT_TYPE', view => view.setUint16(CERT_TYPE_AT, 0, true)],
    ['certification data type 6', 'CERT_TYPE', view => view.setUint16(CERT_TYPE_AT, 6, true)],
  ])('refuses %s', (_, code, edit) => {
    expect(refusal(() => parseQuote(edited(edit)))).toBe(code)
  })

  const signatureSize = handBuilt().length - SIGNATURE_AT
  it.each<[string, QuoteFormatErrorCode, number, 2 | 4, number]>([
    ['signature data of nothing', 'LENGTH', LENGTH_AT, 4, 0],
    ['signature data one short', 'LENGTH', LENGTH_AT, 4, signatureSize - 1],
    ['signature data one over', 'TRUNCATED', LENGTH_AT, 4, signatureSize + 1],
    ['signature data at the limit', 'TRUNCATED', LENGTH_AT, 4, MAX_SIGNATURE_DATA],
    ['signature data over the limit', 'LIMIT', LENGTH_AT, 4, MAX_SIGNATURE_DATA + 1],
    ['signature data of 4 GiB', 'LIMIT', LENGTH_AT, 4, 0xffffffff],
    ['auth data beyond its container', 'LENGTH', AUTH_LENGTH_AT, 2, 0xffff],
    ['certification data one short', 'LENGTH', CERT_SIZE_AT, 4, CERT_SIZE - 1],
    ['certification data one over', 'LENGTH', CERT_SIZE_AT, 4, CERT_SIZE + 1],
    ['certification data of 4 GiB', 'LENGTH', CERT_SIZE_AT, 4, 0xffffffff],
  ])('refuses %s', (_, code, offset, size, value) => {
    const bytes = edited(view =>
      size === 2 ? view.setUint16(offset, value, true) : view.setUint32(offset, value, true),
    )
    expect(refusal(() => parseQuote(bytes))).toBe(code)
  })

  it('refuses certification data that takes the padding after the quote', () => {
    const longer = new Uint8Array(8000)
    longer.set(edited(view => view.setUint32(CERT_SIZE_AT, CERT_SIZE + 1, true)))
    expect(refusal(() => parseQuote(longer))).toBe('LENGTH')
  })

  it('refuses 64 MiB of zeros, and of signature data', () => {
    const huge = new Uint8Array(64 * 1024 * 1024)
    expect(refusal(() => parseQuote(huge))).toBe('VERSION')
    huge.set(handBuilt())
    new DataView(huge.buffer).setUint32(LENGTH_AT, huge.length - SIGNATURE_AT, true)
    expect(refusal(() => parseQuote(huge))).toBe('LIMIT')
  })

  it('gives a value or a QuoteFormatError for any bytes', () => {
    const base = handBuilt()
    const damaged = fc
      .array(fc.tuple(fc.nat(base.length - 1), fc.nat(255)), { maxLength: 8 })
      .map(edits => {
        const bytes = base.slice()
        for (const [offset, value] of edits) bytes[offset] = value
        return bytes
      })
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 2000 }), damaged), bytes => {
        let quote: ReturnType<typeof parseQuote>
        try {
          quote = parseQuote(bytes)
        } catch (error) {
          expect(error).toBeInstanceOf(QuoteFormatError)
          return
        }
        expect(hexOf(encodeQuote(quote))).toBe(hexOf(bytes.subarray(0, quote.length)))
      }),
      { numRuns: 500 },
    )
  })
})

describe('encodeQuote', () => {
  it('undoes the parser on the hand-built quote', () => {
    expect(encodeQuote(parseQuote(handBuilt()))).toEqual(handBuilt())
  })

  it('is undone by the parser', () => {
    fc.assert(
      fc.property(quotes, quote => {
        const bytes = encodeQuote(quote)
        const { signedBytes, qeReportBytes, length, ...fields } = parseQuote(bytes)
        expect(fields).toEqual(quote)
        expect(signedBytes).toEqual(bytes.slice(0, LENGTH_AT))
        expect(qeReportBytes).toEqual(encodeSgxReportBody(quote.qeReport))
        expect(length).toBe(bytes.length)
      }),
    )
  })

  it('refuses fields that do not fit', () => {
    const quote = parseQuote(handBuilt())
    const { header } = quote
    if (quote.body.kind !== 'enclave') throw new Error('an enclave')
    const { report } = quote.body
    const code = (change: Partial<QuoteFields>) =>
      refusal(() => encodeQuote({ ...quote, ...change }))
    expect(code({ signature: new Uint8Array(63) })).toBe('LENGTH')
    expect(code({ qeAuthData: new Uint8Array(0x10000) })).toBe('LENGTH')
    expect(code({ header: { ...header, qeSvn: -1 } })).toBe('LENGTH')
    expect(code({ body: { kind: 'enclave', report: { ...report, miscSelect: 2 ** 32 } } })).toBe(
      'LENGTH',
    )
    const attributes = { flags: 1n << 64n, xfrm: 0n }
    expect(code({ body: { kind: 'enclave', report: { ...report, attributes } } })).toBe('LENGTH')
    expect(code({ certificationData: { type: 5, data: new Uint8Array(MAX_SIGNATURE_DATA) } })).toBe(
      'LIMIT',
    )
  })
})

describe('parseSgxReportBody', () => {
  it('takes exactly 384 bytes', () => {
    expect(refusal(() => parseSgxReportBody(new Uint8Array(383)))).toBe('TRUNCATED')
    expect(refusal(() => parseSgxReportBody(new Uint8Array(385)))).toBe('LENGTH')
    const bytes = pattern(384, 9)
    expect(encodeSgxReportBody(parseSgxReportBody(bytes))).toEqual(bytes)
  })
})
