export { CHALLENGE_LIFE_MS } from './attest/challenge.ts'
export { backUp, type Restored, type RestoreOptions, restore } from './backup.ts'
export type { EhsmOptions } from './ehsm/index.ts'
export { AUDIT_TOKEN_FILE } from './identity/audit-token.ts'
export { ENROLMENT_FILE } from './identity/enrolment-token.ts'
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
