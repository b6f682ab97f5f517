import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { QuoteFormatError } from '../errors.ts'
import { encodeSgxQuote, parseSgxQuote, type SgxQuote } from './quote.ts'
import { encodeSgxReportBody, SGX_FLAGS } from './report-body.ts'

interface Expected {
  readonly verdict: string
  readonly quote?: Readonly<Record<string, unknown>>
  readonly report?: Readonly<Record<string, unknown>>
  readonly flags?: { readonly debug?: boolean }
}

const root = fileURLToPath(new URL('../../../../', import.meta.url))
const vectors = process.env['CLOISTER_VECTORS'] ?? join(root, '..', 'shared', 'vectors')
const folder = join(vectors, 'attestation', 'sgx')
const present = existsSync(folder)
const reason = present ? '' : ` (SKIPPED: no folder ${folder}; set CLOISTER_VECTORS)`

const cases = (present ? readdirSync(folder).sort() : [])
  .filter(name => existsSync(join(folder, name, 'quote.bin')))
  .map(name => ({
    name,
    bytes: new Uint8Array(readFileSync(join(folder, name, 'quote.bin'))),
    expected: JSON.parse(readFileSync(join(folder, name, 'expected.json'), 'utf8')) as Expected,
  }))
const refused = cases.filter(({ expected }) => expected.verdict === 'parse-error')
const version3 = cases.filter(
  ({ bytes, expected }) => expected.verdict !== 'parse-error' && bytes[0] === 3 && bytes[1] === 0,
)

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

function quoteFacts(quote: SgxQuote, size: number): Record<string, unknown> {
  return {
    version: quote.header.version,
    attKeyType: quote.header.attestationKeyType,
    teeType: quote.header.teeType,
    qeVendorId: hex(quote.header.qeVendorId),
    userData: hex(quote.header.userData),
    // Version 3 has one body type and no outer certification data.
    bodyType: 1,
    outerCertType: null,
    certType: quote.certificationData.type,
    quoteLength: quote.length,
    trailing: size - quote.length,
  }
}

function reportFacts({ report }: SgxQuote): Record<string, unknown> {
  return {
    cpuSvn: hex(report.cpuSvn),
    miscSelect: report.miscSelect,
    isvExtProdId: hex(report.isvExtProdId),
    attributes: hex(encodeSgxReportBody(report).subarray(48, 64)),
    mrEnclave: hex(report.mrEnclave),
    mrSigner: hex(report.mrSigner),
    configId: hex(report.configId),
    isvProdId: report.isvProdId,
    isvSvn: report.isvSvn,
    configSvn: report.configSvn,
    isvFamilyId: hex(report.isvFamilyId),
    reportData: hex(report.reportData),
  }
}

/** The facts an expectation names; one that is not known here stays undefined and fails. */
const named = (facts: Record<string, unknown>, expected: Readonly<Record<string, unknown>>) =>
  Object.fromEntries(Object.keys(expected).map(key => [key, facts[key]]))

describe.skipIf(!present)(`SGX quote vectors${reason}`, () => {
  it('has version 3 quotes', () => {
    expect(version3.length).toBeGreaterThan(0)
  })

  for (const { name, bytes, expected } of version3) {
    it(`reads ${name}`, () => {
      const quote = parseSgxQuote(bytes)
      const quoteExpected = expected.quote ?? {}
      const reportExpected = expected.report ?? {}
      expect(named(quoteFacts(quote, bytes.length), quoteExpected)).toEqual(quoteExpected)
      expect(named(reportFacts(quote), reportExpected)).toEqual(reportExpected)
      const debug = expected.flags?.debug
      if (debug !== undefined) {
        expect((quote.report.attributes.flags & SGX_FLAGS.debug) !== 0n).toBe(debug)
      }
      expect(encodeSgxQuote(quote)).toEqual(bytes.slice(0, quote.length))
    })
  }

  for (const { name, bytes } of refused) {
    it(`refuses ${name}`, () => {
      expect(() => parseSgxQuote(bytes)).toThrow(QuoteFormatError)
    })
  }
})
