import type { DocumentFacts } from '../collateral/tcb-level.ts'
import type { Certificate } from '../x509/certificate.ts'
import type { CertificateRevocationList } from '../x509/crl.ts'
import type { Issued, PlatformClaims } from './claims.ts'
import type { Documents, ReadCollateral } from './documents.ts'
import { ownCopy } from './own-copy.ts'

type Dates = 'collateral' | 'latestIssueDate' | 'certificateExpiration' | 'earliestExpiration'

/** Every date of the input, the newest issue and the first end. */
export function datesOf(
  pckChain: readonly Certificate[],
  { crls, crlChain, tcbInfoChain, qeIdentityChain }: ReadCollateral,
  documents: Documents,
): Pick<PlatformClaims, Dates> {
  const collateral = ownCopy({
    tcbInfo: ofDocument(documents.tcbInfo),
    qeIdentity: ofDocument(documents.qeIdentity),
    rootCaCrl: ofCrl(crls[0]),
    pckCrl: ofCrl(crls[1]),
  })
  const issued = Object.values(collateral)
  const certificates = [...pckChain, ...crlChain, ...tcbInfoChain, ...qeIdentityChain]
  const certificateExpiration = earliest(certificates.map(one => one.notAfter))
  return {
    collateral,
    latestIssueDate: new Date(Math.max(...issued.map(one => one.issued.getTime()))),
    certificateExpiration,
    earliestExpiration: earliest([...issued.map(one => one.nextUpdate), certificateExpiration]),
  }
}

function earliest(dates: readonly Date[]): Date {
  return new Date(Math.min(...dates.map(date => date.getTime())))
}

function ofDocument({ issueDate, nextUpdate }: DocumentFacts): Issued {
  return { issued: issueDate, nextUpdate }
}

function ofCrl({ thisUpdate, nextUpdate }: CertificateRevocationList): Issued {
  return { issued: thisUpdate, nextUpdate }
}
