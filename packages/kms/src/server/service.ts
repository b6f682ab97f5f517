import type { AppraisalPolicy, TrustRoot } from '@cloister/attestation'
import type { Challenges } from './attest/challenge.ts'
import type { CollateralFolder } from './attest/collateral-folder.ts'
import type { AuditLog } from './audit/index.ts'
import type { EnrolmentToken } from './identity/enrolment-token.ts'
import type { StoredIdentity } from './identity/stored-identity.ts'
import type { Keys } from './keys/index.ts'
import type { Policies } from './policy/index.ts'
import type { Accounts, Store } from './store/index.ts'

/**
 * What a platform must be like, whatever runs on it. Which measurement may use which key is for the
 * release policies to say.
 */
export type PlatformAppraisal = Omit<AppraisalPolicy, 'mrEnclaves' | 'mrSigners' | 'mrTds'>

/** All that the acts of a key service work with. */
export interface KmsService {
  readonly identity: StoredIdentity
  readonly store: Store
  readonly accounts: Accounts
  readonly keys: Keys
  readonly policies: Policies
  readonly audit: AuditLog
  readonly enrolment: EnrolmentToken
  readonly challenges: Challenges
  readonly collateral: CollateralFolder
  readonly roots: readonly TrustRoot[]
  readonly appraisal: PlatformAppraisal
  readonly tokenLifetimeSeconds: number
  /** The time, which is the key service's own. */
  readonly now: () => Date
}
