export {
  type AttestedCertificate,
  assertCertificateBinds,
  parseAttestedCertificate,
} from './certificate/attested-certificate.ts'
export {
  type AttestedCredentialsOptions,
  issueAttestedCredentials,
  issueTlsCredentials,
  type TlsCredentials,
  type TlsCredentialsOptions,
} from './certificate/credentials.ts'
export type { CertificateEvidence, EvidenceForm } from './certificate/evidence-extension.ts'
export {
  AttestedCertificateError,
  type AttestedCertificateErrorCode,
  QuoteSourceError,
  type QuoteSourceErrorCode,
} from './errors.ts'
export type { Evidence } from './evidence.ts'
export type { QuoteSource } from './quote-source/quote-source.ts'
export { simQuoteSource } from './quote-source/sim.ts'
