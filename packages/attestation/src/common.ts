/* What is the same wherever this runs: forms, policies, roots, errors, types. */

export {
  type Appraisal,
  isDebugEnclave,
  type RejectedAppraisal,
  type TrustedAppraisal,
} from './appraisal/appraise.ts'
export { PUBLIC_TEST_SIGNERS } from './appraisal/enclave-rules.ts'
export { explainAppraisal } from './appraisal/explain.ts'
export { AppraisalPolicyError } from './appraisal/fields.ts'
export {
  APPRAISAL_POLICY_VERSION,
  type AppraisalPolicy,
  type EnclaveRule,
  type GuestRule,
  type PolicyDigest,
  type PolicyFieldsRead,
  type QuotePlatformPolicy,
  readAppraisalPolicy,
  SNP_PLATFORM_FLAGS,
  type SnpPlatformPolicy,
  type TdRule,
} from './appraisal/policy.ts'
export { type PolicyEdit, REASON_CODES, type Reason, type ReasonCode } from './appraisal/reasons.ts'
export type { Brand } from './brand.ts'
export type { Collateral } from './collateral/collateral.ts'
export { collateralJson, readCollateralJson } from './collateral/collateral-json.ts'
export { CollateralError } from './collateral/errors.ts'
export type { EvaluationNumber, EvaluationNumbers } from './collateral/evaluation-numbers.ts'
export type { QeIdentity } from './collateral/qe-identity.ts'
export type {
  SgxTcbInfo,
  SgxTcbLevel,
  TcbInfo,
  TdxTcbInfo,
  TdxTcbLevel,
} from './collateral/tcb-info.ts'
export type { TcbLevelFacts } from './collateral/tcb-level.ts'
export {
  PART_TCB_STATUSES,
  type PartTcbStatus,
  PUBLISHED_TCB_STATUSES,
  type PublishedTcbStatus,
  TCB_STATUSES,
  type TcbStatus,
} from './collateral/tcb-status.ts'
export { CodedError, QuoteFormatError, type QuoteFormatErrorCode } from './errors.ts'
export {
  type EventDigest,
  type EventLog,
  encodeEventLog,
  isEventLog,
  type MeasuredEvent,
  parseEventLog,
} from './event-log/event-log.ts'
export { readInstant } from './instant.ts'
export type { QuoteBody } from './quote/body.ts'
export { certificatesInQuote } from './quote/certificates.ts'
export type {
  CertificationData,
  PckCertificates,
  PlatformIdentifier,
} from './quote/certification-data.ts'
export type { QuoteHeader } from './quote/header.ts'
export { encodeQuote, parseQuote, type Quote, type QuoteFields } from './quote/quote.ts'
export { MAX_SIGNATURE_DATA } from './quote/signature-data.ts'
export {
  encodeSnpCertificateTable,
  parseSnpCertificateTable,
  type SnpCertificateTable,
} from './sev-snp/certificate-table.ts'
export { REVOCATION_UNCHECKED, type SnpCollateral } from './sev-snp/collateral.ts'
export { type HclEnvelope, isHclEnvelope } from './sev-snp/hcl.ts'
export {
  encodeSnpReport,
  encodeSnpSignedPart,
  isSnpReport,
  parseSnpReport,
  SNP_HOST_REQUESTED,
  SNP_PLATFORM,
  SNP_POLICY,
  SNP_REPORT_SIZE,
  SNP_REPORT_VERSIONS,
  SNP_SIGNED_SIZE,
  type SnpCpuid,
  type SnpFirmware,
  type SnpReport,
} from './sev-snp/report.ts'
export {
  encodeSnpTcb,
  parseSnpTcb,
  productOfCpuid,
  SNP_PRODUCTS,
  type SnpProduct,
  type SnpTcb,
  snpPartsBelow,
} from './sev-snp/tcb.ts'
export { parseVekExtensions, type VekExtensions } from './sev-snp/vek.ts'
export {
  encodeSgxReportBody,
  parseSgxReportBody,
  SGX_FLAGS,
  SGX_REPORT_BODY_SIZE,
  type SgxAttributes,
  type SgxReportBody,
} from './sgx/report-body.ts'
export {
  encodeTdReport,
  parseTdReport,
  TD_ATTRIBUTES,
  TD_REPORT_1_0_SIZE,
  TD_REPORT_1_5_SIZE,
  TD_RESERVED,
  TD_UNTRUSTED,
  type TdReport,
  type TdReport10,
  type TdReport15,
} from './tdx/td-report.ts'
export { TEES, type Tee } from './tee.ts'
export type { TcbGap } from './verify/behind.ts'
export {
  type CommonClaims,
  type EnclaveClaims,
  type EvidenceClaims,
  type Issued,
  measurementOf,
  type PlatformClaims,
  type QuoteClaims,
  reportDataOf,
  type SnpClaims,
  type TdClaims,
  type TdxModuleClaims,
  type Verified,
  type VerifiedEvidence,
} from './verify/claims.ts'
export { EvidenceError } from './verify/errors.ts'
export {
  AMD_ROOTS,
  type AmdRoot,
  INTEL_ROOT,
  type IntelRoot,
  type QuoteRoot,
  type SimRoot,
  type SimSnpRoot,
  type SnpRoot,
  type TrustRoot,
} from './verify/roots.ts'
export type { Component } from './verify/tcb-levels.ts'
export type { VerifiedCollateral, VerifyCollateralOptions } from './verify/verified-collateral.ts'
export type { VerifyEvidenceOptions } from './verify-evidence.ts'
export {
  type Certificate,
  type Extension,
  type KeyUsage,
  type Name,
  parseCertificate,
  parseRaTlsCertificate,
} from './x509/certificate.ts'
export {
  ChainError,
  type ChainErrorCode,
  isRevoked,
  type VerifyChainOptions,
  type VerifyCrlOptions,
} from './x509/chain.ts'
export { type CertificateRevocationList, parseCrl } from './x509/crl.ts'
export { DerError, type DerErrorCode } from './x509/der.ts'
export { type PckConfiguration, type PckExtension, parsePckExtension } from './x509/pck.ts'
export { encodePemCertificates, splitPemCertificates } from './x509/pem.ts'
