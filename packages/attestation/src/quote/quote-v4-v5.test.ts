import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { hexOf } from '../bytes/text.ts'
import { QuoteFormatError, type QuoteFormatErrorCode } from '../errors.ts'
import type { SgxReportBody } from '../sgx/report-body.ts'
import type { TdReport } from '../tdx/td-report.ts'
import type { QuoteBody } from './body.ts'
import type { CertificationData } from './certification-data.ts'
import { encodeQuote, encodeSignedPart, parseQuote, type QuoteFields } from './quote.ts'

const exactly = (length: number) => fc.uint8Array({ minLength: length, maxLength: length })
const u16 = fc.nat(0xffff)
const u64 = fc.bigInt(0n, 0xffffffffffffffffn)

const enclaves: fc.Arbitrary<SgxReportBody> = fc.record({
  ...{ cpuSvn: exactly(16), miscSelect: fc.nat(0xffffffff), reserved1: exactly(12) },
  ...{ isvExtProdId: exactly(16), attributes: fc.record({ flags: u64, xfrm: u64 }) },
  ...{ mrEnclave: exactly(32), reserved2: exactly(32), mrSigner: exactly(32) },
  ...{ reserved3: exactly(32), configId: exactly(64), isvProdId: u16, isvSvn: u16 },
  ...{ configSvn: u16, reserved4: exactly(42), isvFamilyId: exactly(16) },
  reportData: exactly(64),
})
const tdFields = {
  ...{ teeTcbSvn: exactly(16), mrSeam: exactly(48), mrSignerSeam: exactly(48) },
  ...{ seamAttributes: exactly(8), tdAttributes: u64, xfam: u64, mrTd: exactly(48) },
  ...{ mrConfigId: exactly(48), mrOwner: exactly(48), mrOwnerConfig: exactly(48) },
  rtmrs: fc.tuple(exactly(48), exactly(48), exactly(48), exactly(48)),
  reportData: exactly(64),
}
const td10: fc.Arbitrary<TdReport> = fc.record({
  version: fc.constant('1.0' as const),
  ...tdFields,
})
const td15: fc.Arbitrary<TdReport> = fc.record({
  version: fc.constant('1.5' as const),
  ...tdFields,
  ...{ teeTcbSvn2: exactly(16), mrServiceTd: exactly(48) },
})
const enclave: fc.Arbitrary<QuoteBody> = fc.record({
  kind: fc.constant('enclave' as const),
  report: enclaves,
})
const td = (report: fc.Arbitrary<TdReport>): fc.Arbitrary<QuoteBody> =>
  fc.record({ kind: fc.constant('td' as const), report })

const identifier = (type: 1 | 2 | 3, size: number): fc.Arbitrary<CertificationData> =>
  fc.record({
    ...{ type: fc.constant(type), ppid: exactly(size), cpuSvn: exactly(16) },
    ...{ pceSvn: u16, pceId: exactly(2) },
  })
const certifications: fc.Arbitrary<CertificationData> = fc.oneof(
  identifier(1, 16),
  identifier(2, 256),
  identifier(3, 384),
  fc.record({ type: fc.constantFrom(4, 5), data: fc.uint8Array({ maxLength: 300 }) }),
)

const quotes = (
  version: 3 | 4 | 5,
  teeType: 'sgx' | 'tdx',
  body: fc.Arbitrary<QuoteBody>,
): fc.Arbitrary<QuoteFields> =>
  fc.record({
    header: fc.record({
      ...{ version: fc.constant(version), attestationKeyType: fc.constant(2 as const) },
      ...{ teeType: fc.constant(teeType), qeSvn: u16, pceSvn: u16 },
      ...{ qeVendorId: exactly(16), userData: exactly(20) },
    }),
    ...{ body, signature: exactly(64), attestationKey: exactly(64), qeReport: enclaves },
    ...{ qeReportSignature: exactly(64), qeAuthData: fc.uint8Array({ maxLength: 100 }) },
    certificationData: certifications,
  })

const shapes: [name: string, quotes: fc.Arbitrary<QuoteFields>, signedSize: number][] = [
  ['v3 SGX', quotes(3, 'sgx', enclave), 432],
  ['v4 SGX', quotes(4, 'sgx', enclave), 432],
  ['v4 TDX 1.0', quotes(4, 'tdx', td(td10)), 632],
  ['v5 SGX', quotes(5, 'sgx', enclave), 438],
  ['v5 TDX 1.0', quotes(5, 'tdx', td(td10)), 638],
  ['v5 TDX 1.5', quotes(5, 'tdx', td(td15)), 702],
]

const refusal = (action: () => unknown): QuoteFormatErrorCode => {
  try {
    action()
  } catch (error) {
    if (error instanceof QuoteFormatError) return error.code
    throw error
  }
  throw new Error('was not refused')
}

const sample = (arbitrary: fc.Arbitrary<QuoteFields>): QuoteFields => {
  const [quote] = fc.sample(arbitrary, { numRuns: 1, seed: 7 })
  if (quote === undefined) throw new Error('one sample')
  return quote
}

const fixed = (bytes: Uint8Array, offset: number, size: 2 | 4, value: number): Uint8Array => {
  const changed = bytes.slice()
  const view = new DataView(changed.buffer)
  if (size === 2) view.setUint16(offset, value, true)
  else view.setUint32(offset, value, true)
  return changed
}

describe.each(shapes)('a quote %s', (_, arbitrary, signedSize) => {
  it('is read as it was written', () => {
    fc.assert(
      fc.property(arbitrary, quote => {
        const bytes = encodeQuote(quote)
        const { signedBytes, qeReportBytes, length, ...fields } = parseQuote(bytes)
        expect(fields).toEqual(quote)
        expect(signedBytes).toEqual(encodeSignedPart(quote))
        expect(signedBytes).toHaveLength(signedSize)
        expect(qeReportBytes).toHaveLength(384)
        expect(length).toBe(bytes.length)
        expect(encodeQuote(fields)).toEqual(bytes)
      }),
      { numRuns: 50 },
    )
  })

  it('is refused when cut at any offset', () => {
    const bytes = encodeQuote(sample(arbitrary))
    for (let end = 0; end < bytes.length; end++) {
      expect(
        refusal(() => parseQuote(bytes.subarray(0, end))),
        `cut at ${end}`,
      ).toBe('TRUNCATED')
    }
  })

  it('is refused when a length inside lies', () => {
    const quote = sample(arbitrary)
    const bytes = encodeQuote({ ...quote, certificationData: { type: 5, data: new Uint8Array(9) } })
    const outer = signedSize + 4 + 128
    const qe = quote.header.version === 3 ? outer : outer + 6
    const auth = qe + 384 + 64
    const inner = auth + 2 + quote.qeAuthData.length
    const lies: [offset: number, size: 2 | 4, value: number, code: QuoteFormatErrorCode][] = [
      [signedSize, 4, bytes.length - signedSize - 5, 'LENGTH'],
      [signedSize, 4, bytes.length - signedSize - 3, 'TRUNCATED'],
      [signedSize, 4, 0xffffffff, 'LIMIT'],
      [auth, 2, 0xffff, 'LENGTH'],
      [inner, 2, 6, 'CERT_TYPE'],
      [inner, 2, 7, 'CERT_TYPE'],
      [inner, 2, 1, 'LENGTH'],
      [inner + 2, 4, 8, 'LENGTH'],
      [inner + 2, 4, 10, 'LENGTH'],
      [inner + 2, 4, 0xffffffff, 'LENGTH'],
    ]
    if (quote.header.version !== 3) {
      const size = bytes.length - qe
      lies.push(
        [outer, 2, 5, 'CERT_TYPE'],
        [outer + 2, 4, size - 1, 'LENGTH'],
        [outer + 2, 4, size + 1, 'LENGTH'],
        [outer + 2, 4, 0xffffffff, 'LENGTH'],
      )
    }
    for (const [offset, size, value, code] of lies) {
      // With room behind the quote, so that no lie is found by the end of the buffer alone.
      const changed = fixed(bytes, offset, size, value)
      const padded = code === 'TRUNCATED' ? changed : Buffer.concat([changed, Buffer.alloc(999)])
      expect(
        refusal(() => parseQuote(padded)),
        `${value} at ${offset}`,
      ).toBe(code)
    }
  })

  it('ends where it ends, whatever follows', () => {
    const bytes = encodeQuote(sample(arbitrary))
    const padded = Buffer.concat([bytes, Buffer.alloc(8000, 0xa5)])
    expect(parseQuote(padded)).toEqual(parseQuote(bytes))
  })

  it('gives a value or a coded error for any bytes', () => {
    const base = encodeQuote(sample(arbitrary))
    const edits = fc.array(fc.tuple(fc.nat(base.length - 1), fc.nat(255)), { maxLength: 8 })
    fc.assert(
      fc.property(edits, changes => {
        const bytes = base.slice()
        for (const [offset, value] of changes) bytes[offset] = value
        try {
          const quote = parseQuote(bytes)
          expect(hexOf(encodeQuote(quote))).toBe(hexOf(bytes.subarray(0, quote.length)))
        } catch (error) {
          expect(error).toBeInstanceOf(QuoteFormatError)
        }
      }),
      { numRuns: 300 },
    )
  })
})

describe('header, descriptor and body', () => {
  const bytes = encodeQuote(sample(quotes(5, 'tdx', td(td15))))
  it.each<[name: string, offset: number, size: 2 | 4, value: number, QuoteFormatErrorCode]>([
    ['version 6', 0, 2, 6, 'VERSION'],
    ['version 3 with a TEE type', 0, 2, 3, 'TEE_TYPE'],
    ['key type 3', 2, 2, 3, 'KEY_TYPE'],
    ['TEE type 1', 4, 4, 1, 'TEE_TYPE'],
    ['SGX with a TD body', 4, 4, 0, 'BODY_TYPE'],
    ['TDX with an enclave body', 48, 2, 1, 'BODY_TYPE'],
    ['body type 4', 48, 2, 4, 'BODY_TYPE'],
    ['TD 1.0 with the size of 1.5', 48, 2, 2, 'LENGTH'],
    ['TD 1.5 with the size of 1.0', 50, 4, 584, 'LENGTH'],
    ['a body of 4 GiB', 50, 4, 0xffffffff, 'LENGTH'],
  ])('refuses %s', (_, offset, size, value, code) => {
    expect(refusal(() => parseQuote(fixed(bytes, offset, size, value)))).toBe(code)
  })

  it('are not written when they do not fit each other', () => {
    const quote = sample(quotes(4, 'tdx', td(td10)))
    const { header } = quote
    const code = (change: Partial<QuoteFields>) =>
      refusal(() => encodeQuote({ ...quote, ...change }))
    expect(code({ header: { ...header, version: 3 } })).toBe('TEE_TYPE')
    expect(code({ header: { ...header, teeType: 'sgx' } })).toBe('BODY_TYPE')
    expect(code({ body: sample(quotes(5, 'tdx', td(td15))).body })).toBe('BODY_TYPE')
  })
})
