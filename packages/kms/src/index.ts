export { type AcceptedRestore, acceptRestored } from './client/accept-restored.ts'
export { AccountCalls, OperatorCalls } from './client/account-calls.ts'
export {
  AttestedSession,
  type AttestOptions,
  type CommittedHeads,
  type HeadMove,
  type InputPart,
  type OutputPart,
  type ReleasedKeys,
  type ReleaseParts,
  type SessionEvidence,
} from './client/attested-session.ts'
export type { KmsClientOptions } from './client/calls.ts'
export { KmsConnectionError, type KmsConnectionErrorCode } from './client/connection-error.ts'
export type {
  Bound,
  DataKey,
  Encrypted,
  PublicKey,
  SigningAlgorithm,
  ToSign,
} from './client/data-client.ts'
export {
  type ExplainedDenial,
  type ExplainedPolicy,
  explainDenial,
} from './client/explain-denial.ts'
export { type ImportParameters, wrapForImport } from './client/import-material.ts'
export type { KeyAlias } from './client/key-client.ts'
export { KmsClient } from './client/kms-client.ts'
export type { LogFinding } from './client/log-export/block.ts'
export {
  type LogVerdict,
  type VerifyLogOptions,
  verifyLogExport,
} from './client/log-export/verify.ts'
export { exportLog } from './client/log-export/write.ts'
export { LogFolder } from './client/log-folder.ts'
export {
  compareLog,
  currentCheckpoint,
  followLog,
  type LogMemory,
  type SeenLog,
} from './client/log-history.ts'
export { decryptMessage, encryptMessage } from './client/message.ts'
export {
  openOwnDataset,
  plaintextOf,
  unverifiedDatasetId,
} from './client/own-dataset.ts'
export type { ClientCertificate } from './client/pinned-agent.ts'
export { WithdrawalCalls, type Withdrawn } from './client/policy-calls.ts'
export { type KmsProbe, probeKms } from './client/probe.ts'
export {
  type RewrapDatasetOptions,
  type RewrappedDataset,
  rewrapDataset,
} from './client/rewrap-dataset.ts'
export {
  type FailedFile,
  type RewrapFolderOptions,
  type RewrappedFolder,
  rewrapFolder,
} from './client/rewrap-folder.ts'
export {
  type SealFileOptions,
  type SealFilesOptions,
  sealFile,
  sealFiles,
} from './client/seal-file.ts'
export { verifyHeadsMoved, type WantedHeads } from './client/statements.ts'
export { type Ciphertext, type EncryptionContext, parseCiphertext } from './protocol/ciphertext.ts'
export { certificateKeyMatch, certificateNameMatch } from './protocol/client-certificate.ts'
export { collateralToJson, parseCollateral, parseSnpCollateral } from './protocol/collateral.ts'
export { canonicalJson } from './protocol/encoding.ts'
export { KMS_STATUS, KmsError, type KmsErrorCode, type KmsReason } from './protocol/errors.ts'
export {
  encodeJobStatement,
  type JobStatement,
  jobDigest,
  MAX_JOB_STATEMENT_BYTES,
  parseJobStatement,
} from './protocol/job-statement.ts'
export {
  type JobTemplate,
  jobTemplateDigest,
  jobTemplateOf,
  parseJobTemplate,
} from './protocol/job-template/job-template.ts'
export { type JobMismatch, jobMismatches } from './protocol/job-template/match.ts'
export { JWS_TYPES, type JwsType, type VerifiedJws, verifyJws } from './protocol/jws.ts'
export type {
  AccountJson,
  CredentialJson,
  EhsmAccountJson,
  GrantJson,
  IssuedJson,
  NewCredentialJson,
  TenantJson,
} from './protocol/messages/accounts.ts'
export { SIGNING_ALGORITHMS } from './protocol/messages/keys.ts'
export type { ServiceJson } from './protocol/messages/operations.ts'
export type {
  NewPolicy,
  NewWithdrawal,
  PolicyDescription,
  ReleaseTemplate,
  WithdrawalJson,
} from './protocol/messages/policies.ts'
export {
  type AuditProof,
  type AuditRow,
  type CollateralJson,
  type DekContextJson,
  type Head,
  type HeadPosition,
  type HeadsMoved,
  type KeyDescription,
  MAX_PARTS_PER_REQUEST,
  type NextHead,
  type Released,
  type SlotJson,
  type SnpCollateralJson,
} from './protocol/messages.ts'
export { type KmsPin, parseKmsPin } from './protocol/pin.ts'
export {
  encodePublicKey,
  jwkOfKey,
  keyOfJwk,
  kmsIdOf,
  parsePublicKey,
  tlsNameOf,
} from './protocol/public-key.ts'
export { isScope, SCOPES, type Scope } from './protocol/scopes.ts'
export { slotFromJson, slotToJson } from './protocol/slot.ts'
export {
  headsTranscript,
  type ReleaseTranscript,
  releaseTranscript,
} from './protocol/transcript.ts'
