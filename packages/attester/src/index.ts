export type { PeerRequirements } from './appraise-peer.ts'
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
export { attestedDispatcher } from './dispatcher.ts'
export {
  AttestedCertificateError,
  type AttestedCertificateErrorCode,
  AttestedTlsError,
  type AttestedTlsErrorCode,
  QuoteSourceError,
  type QuoteSourceErrorCode,
} from './errors.ts'
export type { Evidence, PeerEvidence } from './evidence.ts'
export { type ConfigfsTsmOptions, configfsTsmSource } from './quote-source/configfs-tsm.ts'
export type { DeviceFiles } from './quote-source/device-files.ts'
export { type GramineOptions, gramineSource } from './quote-source/gramine.ts'
export { type OcclumOptions, occlumSource } from './quote-source/occlum.ts'
export type { QuoteSource } from './quote-source/quote-source.ts'
export { simQuoteSource } from './quote-source/sim.ts'
export {
  type AttestedConnection,
  type AttestedConnectionOptions,
  type CertificateClient,
  type ConnectAttestedOptions,
  type ConnectOptions,
  type ConnectPinnedOptions,
  connectAttested,
  connectPinned,
  type FreshClient,
} from './tls/connect.ts'
export { FRESH_PROTOCOL } from './tls/frames.ts'
export {
  type AttestedListener,
  type AttestedServerOptions,
  type CertificateServer,
  type Clients,
  createAttestedServer,
  type FreshServer,
} from './tls/server.ts'
