export { CHALLENGE_LIFE_MS } from './attest/challenge.ts'
export { backUp, type Restored, type RestoreOptions, restore } from './backup.ts'
export type { EhsmOptions } from './ehsm/index.ts'
export { EventLog, errorChain } from './http/log.ts'
export { DEFAULT_RATES, type Rates } from './http/rate-limits.ts'
export { AUDIT_TOKEN_FILE, ENROLMENT_FILE, OPERATOR_TOKEN_FILE } from './identity/stored-token.ts'
export { WEAK_SWITCHES, type WeakSwitch } from './observe/index.ts'
export {
  type CaseFile,
  type DescribedCase,
  type DescribedRequest,
  describedCase,
  parseCaseFile,
  parseDescribedRequest,
} from './policy/offline/case-file.ts'
export {
  type OfflineDecision,
  OfflinePolicies,
  type PolicyInput,
} from './policy/offline/offline-policies.ts'
export {
  type BoundTo,
  type RootKeeping,
  RootKeyError,
  type SealingSource,
  Secret,
} from './root/index.ts'
export { type RotateRootOptions, rotateRoot } from './rotate-root.ts'
export { PIN_FILE, type RunningKms, type StartKmsOptions, startKms } from './start-kms.ts'
export { isWeak, type PostgresOptions, readPostgresUrl, StoreError } from './store/index.ts'
