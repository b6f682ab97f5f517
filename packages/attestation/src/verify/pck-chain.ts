import type { Collateral } from '../collateral/collateral.ts'
import type { PlatformIdentifier } from '../quote/certification-data.ts'
import type { Quote } from '../quote/quote.ts'
import type { Certificate } from '../x509/certificate.ts'
import { sameBytes } from '../x509/der.ts'
import type { Known } from '../x509/known.ts'
import { type PckExtension, parsePckExtension } from '../x509/pck.ts'
import { EvidenceError } from './errors.ts'

/** The PCK certificate and its chain, leaf first; not verified. */
export type PckChain = readonly [leaf: Certificate, ...issuers: Certificate[]]

/**
 * The PCK chain of a quote: the one that the collateral gives, or the quote's own. Either has to lead
 * up to the pinned root, and its key to have signed the QE report.
 * @throws EvidenceError CERTIFICATION_DATA when there is neither
 */
export function pckChainOf(quote: Quote, collateral: Collateral, known: Known): PckChain {
  const { certificationData } = quote
  const own = certificationData.type === 5 ? certificationData.data : undefined
  const pem = collateral.pckCertificateChain ?? own
  if (pem === undefined) {
    throw new EvidenceError(
      'CERTIFICATION_DATA',
      `the quote holds no PCK chain (certification data of type ${certificationData.type}): give it as pckCertificateChain`,
    )
  }
  const [leaf, ...issuers] = known.readChain(pem)
  if (leaf === undefined) throw new EvidenceError('CERTIFICATION_DATA', 'the PCK chain is empty')
  if ('data' in certificationData && certificationData.type === 4) {
    const [quoted] = known.readChain(certificationData.data)
    if (quoted === undefined || !sameBytes(quoted.raw, leaf.raw)) {
      throw new EvidenceError('CERTIFICATION_DATA', 'the chain given is not of the quote’s PCK')
    }
  }
  return [leaf, ...issuers]
}

/** The extension of a PCK certificate, which must be of the platform that the quote names. */
export function pckExtensionOf({ certificationData }: Quote, [leaf]: PckChain): PckExtension {
  if (leaf.isCa || leaf.subject.commonName?.includes('SGX PCK Certificate') !== true) {
    throw new EvidenceError('PCK', `"${leaf.subject.commonName ?? ''}" is no PCK certificate`)
  }
  const pck = parsePckExtension(leaf)
  if (!('data' in certificationData)) requireIdentified(certificationData, pck)
  return pck
}

/** Only a plain PPID can be compared. CPUSVN and PCESVN name a TCB, and may be of a later one. */
function requireIdentified({ type, ppid, pceId }: PlatformIdentifier, pck: PckExtension): void {
  const isOther =
    (type === 1 && !sameBytes(ppid, pck.ppid)) ||
    (pceId !== undefined && !sameBytes(pceId, pck.pceid))
  if (isOther) throw new EvidenceError('PCK', 'the PCK certificate is of another platform')
}
