import { certificatesInQuote } from '../quote/certificates.ts'
import type { CertificationData } from '../quote/certification-data.ts'
import type { Quote } from '../quote/quote.ts'
import { SNP_HOST_REQUESTED, SNP_PLATFORM, SNP_POLICY, type SnpReport } from '../sev-snp/report.ts'
import { parseSnpTcb, productOfCpuid } from '../sev-snp/tcb.ts'
import { SGX_FLAGS, type SgxReportBody } from '../sgx/report-body.ts'
import { TD_ATTRIBUTES, type TdReport } from '../tdx/td-report.ts'
import { parseCertificate } from '../x509/certificate.ts'
import { DerError } from '../x509/der.ts'
import { describeCertificate } from './certificate.ts'
import { type Fact, type Facts, factsOf, flagsFact, hexFact } from './facts.ts'

/** What a quote says of itself. */
export function describeQuote(quote: Quote, given: number): Facts {
  const { header, body } = quote
  return factsOf({
    version: header.version,
    TEE: header.teeType,
    'QE vendor id': hexFact(header.qeVendorId),
    'user data': hexFact(header.userData),
    [body.kind === 'enclave' ? 'enclave' : 'trust domain']:
      body.kind === 'enclave' ? describeSgxReport(body.report) : describeTdReport(body.report),
    'attestation key': hexFact(quote.attestationKey),
    'quoting enclave': describeSgxReport(quote.qeReport),
    'QE authentication data': hexFact(quote.qeAuthData),
    'certification data': describeCertification(quote.certificationData),
    'bytes of the quote': quote.length,
    'bytes after it, not looked at': given > quote.length ? given - quote.length : undefined,
  })
}

/** What an SGX report says of an enclave. */
export function describeSgxReport(report: SgxReportBody): Facts {
  return {
    MRENCLAVE: hexFact(report.mrEnclave),
    MRSIGNER: hexFact(report.mrSigner),
    ISVPRODID: report.isvProdId,
    ISVSVN: report.isvSvn,
    ATTRIBUTES: flagsFact(report.attributes.flags, SGX_FLAGS),
    XFRM: `0x${report.attributes.xfrm.toString(16)}`,
    MISCSELECT: report.miscSelect,
    CPUSVN: hexFact(report.cpuSvn),
    CONFIGID: hexFact(report.configId),
    CONFIGSVN: report.configSvn,
    ISVFAMILYID: hexFact(report.isvFamilyId),
    ISVEXTPRODID: hexFact(report.isvExtProdId),
    REPORTDATA: hexFact(report.reportData),
  }
}

/** What a TD report says of a trust domain. */
export function describeTdReport(report: TdReport): Facts {
  const rtmrs = report.rtmrs.map((rtmr, index) => [`RTMR${index}`, hexFact(rtmr)] as const)
  return factsOf({
    'TD report': report.version,
    MRTD: hexFact(report.mrTd),
    ...Object.fromEntries(rtmrs),
    TDATTRIBUTES: flagsFact(report.tdAttributes, TD_ATTRIBUTES),
    XFAM: `0x${report.xfam.toString(16)}`,
    MRCONFIGID: hexFact(report.mrConfigId),
    MROWNER: hexFact(report.mrOwner),
    MROWNERCONFIG: hexFact(report.mrOwnerConfig),
    MRSERVICETD: report.version === '1.5' ? hexFact(report.mrServiceTd) : undefined,
    TEE_TCB_SVN: hexFact(report.teeTcbSvn),
    TEE_TCB_SVN_2: report.version === '1.5' ? hexFact(report.teeTcbSvn2) : undefined,
    MRSEAM: hexFact(report.mrSeam),
    MRSIGNERSEAM: hexFact(report.mrSignerSeam),
    SEAMATTRIBUTES: hexFact(report.seamAttributes),
    REPORTDATA: hexFact(report.reportData),
  })
}

/** What a report of a SEV-SNP guest says. */
export function describeSnpReport(report: SnpReport): Facts {
  const { cpuid, mitigations } = report
  const product = cpuid === undefined ? undefined : productOfCpuid(cpuid)
  const tcb = (bytes: Uint8Array): Fact =>
    product === undefined ? hexFact(bytes) : factsOf({ ...parseSnpTcb(product, bytes) })
  return factsOf({
    version: report.version,
    processor: product,
    CPUID:
      cpuid &&
      `family 0x${cpuid.family.toString(16)}, model ${cpuid.model}, stepping ${cpuid.stepping}`,
    MEASUREMENT: hexFact(report.measurement),
    POLICY: flagsFact(report.policy, SNP_POLICY),
    VMPL: report.vmpl === SNP_HOST_REQUESTED ? 'asked for by the host' : report.vmpl,
    GUEST_SVN: report.guestSvn,
    HOST_DATA: hexFact(report.hostData),
    FAMILY_ID: hexFact(report.familyId),
    IMAGE_ID: hexFact(report.imageId),
    ID_KEY_DIGEST: hexFact(report.idKeyDigest),
    AUTHOR_KEY_DIGEST: hexFact(report.authorKeyDigest),
    REPORT_ID: hexFact(report.reportId),
    PLATFORM_INFO: flagsFact(report.platformInfo, SNP_PLATFORM),
    'signing key': report.signingKey,
    CHIP_ID: hexFact(report.chipId),
    REPORTED_TCB: tcb(report.reportedTcb),
    CURRENT_TCB: tcb(report.currentTcb),
    COMMITTED_TCB: tcb(report.committedTcb),
    LAUNCH_TCB: tcb(report.launchTcb),
    'current firmware': Object.values(report.currentFirmware).join('.'),
    'committed firmware': Object.values(report.committedFirmware).join('.'),
    'mitigations at launch': mitigations && `0x${mitigations.launch.toString(16)}`,
    'mitigations now': mitigations && `0x${mitigations.current.toString(16)}`,
    REPORT_DATA: hexFact(report.reportData),
  })
}

function describeCertification(data: CertificationData): Facts {
  if (!('data' in data)) {
    return factsOf({
      type: `${data.type} (the platform's name; its certificate has to be fetched)`,
      PPID: hexFact(data.ppid),
      CPUSVN: hexFact(data.cpuSvn),
      PCESVN: data.pceSvn,
      PCEID: data.pceId && hexFact(data.pceId),
    })
  }
  return {
    type: `${data.type} (${data.type === 5 ? 'the PCK chain' : 'the PCK certificate'})`,
    certificates: describeChain(data),
  }
}

/** A quote can be told of though nobody can read its chain. */
function describeChain(certificationData: CertificationData): Fact {
  try {
    const certificates = certificatesInQuote({ certificationData })
    return certificates.map(der => describeCertificate(parseCertificate(der)))
  } catch (error) {
    if (!(error instanceof DerError)) throw error
    return `not readable: ${error.message}`
  }
}
