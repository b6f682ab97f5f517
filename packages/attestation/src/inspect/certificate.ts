import { CodedError } from '../errors.ts'
import { parseVekExtensions, VEK_EXTENSIONS } from '../sev-snp/vek.ts'
import type { Certificate } from '../x509/certificate.ts'
import type { CertificateRevocationList } from '../x509/crl.ts'
import { parsePckExtension, SGX_EXTENSION } from '../x509/pck.ts'
import { dateFact, type Fact, type Facts, factsOf, hexFact } from './facts.ts'

/** What a certificate says, with the vendor's extensions read. */
export function describeCertificate(certificate: Certificate): Facts {
  const { pathLen, keyUsage, extensions } = certificate
  const has = (prefix: string) => extensions.some(({ oid }) => oid.startsWith(prefix))
  return factsOf({
    subject: certificate.subject.commonName ?? 'without a common name',
    issuer: certificate.issuer.commonName ?? 'without a common name',
    serial: certificate.serial,
    'valid from': dateFact(certificate.notBefore),
    'valid to': dateFact(certificate.notAfter),
    CA: certificate.isCa ? (pathLen === undefined ? 'yes' : `yes, ${pathLen} below`) : 'no',
    'key usage': keyUsage && [...keyUsage].join(', '),
    'signature algorithm': certificate.signatureAlgorithm,
    'public key': hexFact(certificate.spki),
    platform: has(SGX_EXTENSION) ? orMalformed(() => describePck(certificate)) : undefined,
    'signing key': has(`${VEK_EXTENSIONS}.`)
      ? orMalformed(() => describeVek(certificate))
      : undefined,
    'other extensions': extensions
      .map(({ oid, critical }) => (critical ? `${oid} (critical)` : oid))
      .filter(oid => !oid.startsWith(SGX_EXTENSION) && !oid.startsWith(`${VEK_EXTENSIONS}.`)),
  })
}

/** What can be read; or why it can not, where all around it is worth reading. */
export function orMalformed<Read extends Fact | undefined>(read: () => Read): Read | string {
  try {
    return read()
  } catch (error) {
    if (error instanceof CodedError) return `MALFORMED: ${error.message} [${error.code}]`
    throw error
  }
}

/** What a revocation list says. */
export function describeCrl(crl: CertificateRevocationList): Facts {
  return {
    issuer: crl.issuer.commonName ?? 'without a common name',
    issued: dateFact(crl.thisUpdate),
    'next update': dateFact(crl.nextUpdate),
    'signature algorithm': crl.signatureAlgorithm,
    revoked: crl.revoked.size,
    serials: [...crl.revoked].map(([serial, at]) => `${serial} on ${dateFact(at)}`),
  }
}

function describePck(certificate: Certificate): Facts {
  const pck = parsePckExtension(certificate)
  const { platformInstanceId, configuration } = pck
  return factsOf({
    FMSPC: hexFact(pck.fmspc),
    PCEID: hexFact(pck.pceid),
    PPID: hexFact(pck.ppid),
    'TCB components': pck.tcbComponents.join(' '),
    PCESVN: pck.pcesvn,
    CPUSVN: hexFact(pck.cpusvn),
    'SGX type': ['standard', 'scalable', 'scalable with integrity'][pck.sgxType] ?? pck.sgxType,
    'platform instance id': platformInstanceId && hexFact(platformInstanceId),
    configuration: configuration && factsOf({ ...configuration }),
  })
}

function describeVek(certificate: Certificate): Facts {
  const { kind, product, tcb, hwId, cspId } = parseVekExtensions(certificate)
  return factsOf({
    kind,
    product,
    TCB: factsOf({ ...tcb }),
    'chip id': hwId && hexFact(hwId),
    provider: cspId,
  })
}
