export { appraiseEvidence } from './appraisal/appraise.ts'
export { policyDigestOf } from './appraisal/policy.ts'
export * from './common.ts'
export { EAR_PROFILE, type PublicSigningJwk, signingJwk } from './ear.ts'
export {
  EventLogError,
  replayEventLog,
  type VerifiedEvent,
  type VerifiedEvents,
  verifyEventLog,
} from './event-log/replay.ts'
export { readPublicKey } from './public-key.ts'
export {
  isKmsId,
  MAX_CHALLENGE_BYTES,
  MIN_CHALLENGE_BYTES,
  type ReleaseBinding,
  type ReportData,
  ReportDataError,
  reportDataFor,
  verifyReportData,
} from './report-data.ts'
export { parseHclEnvelope } from './sev-snp/hcl.ts'
export type { SimDocument } from './sim/collateral.ts'
export {
  SIM_EXPIRABLES,
  SIM_REVOCABLES,
  type SimConditions,
  type SimExpirable,
  type SimRevocable,
  type SimTcbInfoForm,
} from './sim/conditions.ts'
export { SIM_QE_VENDOR_ID } from './sim/names.ts'
export {
  createSimPlatform,
  type SimPck,
  type SimPlatform,
  type SimPlatformOptions,
  withSimConditions,
} from './sim/platform.ts'
export type { SimEnclave, SimQuoteLayout } from './sim/quote.ts'
export { SimSealingError, type SimSealingRequest, simSealingKey } from './sim/sealing-key.ts'
export {
  createSimSnpPlatform,
  SIM_SNP_REVOCABLES,
  type SimSnpOptions,
  type SimSnpPlatform,
} from './sim/snp-platform.ts'
export { exportSimPlatform, importSimPlatform, SimPlatformError } from './sim/stored-platform.ts'
export type { SimTd, SimTdxConditions } from './sim/td.ts'
export { jwkOfSpki, type PublicJwk, spkiOfJwk } from './spki.ts'
export type { PlatformFacts, TokenClaims, TokenTcbStatus, VerifiedToken } from './token/claims.ts'
export { TokenError, type TokenErrorCode } from './token/errors.ts'
export { MAX_TOKEN_LIFETIME_SECONDS } from './token/instant.ts'
export { type IssueTokenOptions, issueToken } from './token/issue.ts'
export { MAX_TOKEN_LENGTH, type VerifyTokenOptions, verifyToken } from './token/verify.ts'
export {
  type SignedDocuments,
  type SingleDocumentOptions,
  type VerifiedPck,
  verifyPckCertificate,
  verifyPckCrl,
  verifyRootCrl,
  verifySignedDocument,
} from './verify/single-document.ts'
export { verifyCollateral } from './verify/verified-collateral.ts'
export { verifyEvidence } from './verify-evidence.ts'
export {
  type EnclaveWorkload,
  type SnpWorkload,
  type TdWorkload,
  type Workload,
  workloadMeasurement,
  workloadOf,
} from './workload.ts'
export { verifyChain, verifyCrl } from './x509/chain.ts'
