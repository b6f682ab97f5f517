import { describe, expect, it } from 'vitest'
import { QuoteFormatError } from '../errors.ts'
import { encodeSgxReportBody, SGX_FLAGS, type SgxReportBody } from '../sgx/report-body.ts'
import { TD_ATTRIBUTES, TD_UNTRUSTED, type TdReport } from '../tdx/td-report.ts'
import { CASES, HAS_VECTORS, SKIPPED } from '../vectors.test.support.ts'
import { encodeQuote, parseQuote, type Quote } from './quote.ts'

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const u64 = (value: bigint): string => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(value)
  return bytes.toString('hex')
}

function quoteFacts(quote: Quote, size: number): Record<string, unknown> {
  const { header, body, certificationData } = quote
  return {
    version: header.version,
    attKeyType: header.attestationKeyType,
    teeType: header.teeType === 'sgx' ? 0 : 0x81,
    qeVendorId: hex(header.qeVendorId),
    userData: hex(header.userData),
    bodyType: body.kind === 'enclave' ? 1 : body.report.version === '1.0' ? 2 : 3,
    outerCertType: header.version === 3 ? null : 6,
    certType: certificationData.type,
    quoteLength: quote.length,
    trailing: size - quote.length,
  }
}

function enclaveFacts(report: SgxReportBody): Record<string, unknown> {
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

function tdFacts(report: TdReport): Record<string, unknown> {
  return {
    teeTcbSvn: hex(report.teeTcbSvn),
    mrSeam: hex(report.mrSeam),
    mrSignerSeam: hex(report.mrSignerSeam),
    seamAttributes: hex(report.seamAttributes),
    tdAttributes: u64(report.tdAttributes),
    xfam: u64(report.xfam),
    mrTd: hex(report.mrTd),
    mrConfigId: hex(report.mrConfigId),
    mrOwner: hex(report.mrOwner),
    mrOwnerConfig: hex(report.mrOwnerConfig),
    rtmr0: hex(report.rtmrs[0]),
    rtmr1: hex(report.rtmrs[1]),
    rtmr2: hex(report.rtmrs[2]),
    rtmr3: hex(report.rtmrs[3]),
    reportData: hex(report.reportData),
    ...(report.version === '1.5'
      ? { teeTcbSvn2: hex(report.teeTcbSvn2), mrServiceTd: hex(report.mrServiceTd) }
      : {}),
  }
}

function flagsOf({ body }: Quote): Record<string, boolean> {
  if (body.kind === 'enclave') {
    return { debug: (body.report.attributes.flags & SGX_FLAGS.debug) !== 0n }
  }
  const { report } = body
  const has = (bit: bigint) => (report.tdAttributes & bit) !== 0n
  return {
    debug: has(TD_UNTRUSTED),
    septVeDisable: has(TD_ATTRIBUTES.septVeDisable),
    migratable: has(TD_ATTRIBUTES.migratable),
    pks: has(TD_ATTRIBUTES.pks),
    kl: has(TD_ATTRIBUTES.keyLocker),
    perfmon: has(TD_ATTRIBUTES.perfmon),
    serviceTdBound: report.version === '1.5' && report.mrServiceTd.some(byte => byte !== 0),
  }
}

/** The facts an expectation names; one that is not known here stays undefined and fails. */
const named = (facts: Record<string, unknown>, expected: Readonly<Record<string, unknown>>) =>
  Object.fromEntries(Object.keys(expected).map(key => [key, facts[key]]))

describe.skipIf(!HAS_VECTORS)(`quote vectors${SKIPPED}`, () => {
  it('has quotes of each version', () => {
    const versions = CASES.map(({ expected }) => expected.quote?.['version'])
    for (const version of [3, 4, 5]) expect(versions).toContain(version)
  })

  it.each(CASES)('$name', ({ expected, evidence }) => {
    if (expected.verdict === 'parse-error') {
      expect(() => parseQuote(evidence)).toThrow(QuoteFormatError)
      return
    }
    const quote = parseQuote(evidence)
    const { body } = quote
    const report = body.kind === 'enclave' ? enclaveFacts(body.report) : tdFacts(body.report)
    const wanted = { quote: {}, report: {}, flags: {}, ...expected }
    expect(named(quoteFacts(quote, evidence.length), wanted.quote)).toEqual(wanted.quote)
    expect(named(report, wanted.report)).toEqual(wanted.report)
    expect(named(flagsOf(quote), wanted.flags)).toEqual(wanted.flags)
    expect(encodeQuote(quote)).toEqual(evidence.slice(0, quote.length))
  })
})
