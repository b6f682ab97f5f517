import type { X509Certificate } from 'node:crypto'
import type { AppraisalPolicy, TrustRoot } from '@cloister/attestation'
import type { Accounts, Credentials, CredentialUses, KeyGrants, Tenants } from './accounts/index.ts'
import type { Challenges } from './attest/challenge.ts'
import type { CollateralFolder } from './attest/collateral-folder.ts'
import type { AuditLog, NoteSigner, Tally, Witness } from './audit/index.ts'
import type { RateLimits } from './http/rate-limits.ts'
import type { EnrolmentToken } from './identity/enrolment-token.ts'
import type { StoredIdentity } from './identity/stored-identity.ts'
import type { StoredToken } from './identity/stored-token.ts'
import type { Keys } from './keys/index.ts'
import type { Metrics, OutstandingChallenges, WeakSwitch } from './observe/index.ts'
import type { Policies, Withdrawals } from './policy/index.ts'
import type { RunSecrets } from './release/run-secrets.ts'
import type { Store } from './store/index.ts'

/** All that the acts of a key service work with. */
export interface KmsService {
  readonly identity: StoredIdentity
  readonly store: Store
  readonly tenants: Tenants
  readonly accounts: Accounts
  readonly credentials: Credentials
  readonly credentialUses: CredentialUses
  readonly grants: KeyGrants
  /** CAs whose client certificates may stand for accounts, by name. */
  readonly clientCas: readonly X509Certificate[]
  readonly keys: Keys
  readonly policies: Policies
  readonly withdrawals: Withdrawals
  readonly audit: AuditLog
  /** Signs the audit log's checkpoints. */
  readonly logKey: NoteSigner
  /** Counts what leaves no row of its own. */
  readonly tally: Tally
  /** What is told of each act before it is answered, where there is one. */
  readonly witness: Witness | undefined
  readonly enrolment: EnrolmentToken
  readonly auditToken: StoredToken
  readonly operatorToken: StoredToken
  readonly challenges: Challenges
  readonly runSecrets: RunSecrets
  readonly collateral: CollateralFolder
  readonly roots: readonly TrustRoot[]
  /**
   * What evidence must be like. Enclaves that it does not list may be any: the job names the one,
   * and release policies say which may use which key.
   */
  readonly appraisal: AppraisalPolicy
  readonly tokenLifetimeSeconds: number
  /** How often one account, or one address, is served. */
  readonly limits: RateLimits
  readonly metrics: Metrics
  /** What the operator chose that weakens the service. */
  readonly weakSwitches: readonly WeakSwitch[]
  readonly startedAt: Date
  readonly outstanding: OutstandingChallenges
  /**
   * When the database was last restored. Challenges, tokens and signed requests of before count no
   * more: that they were used may be forgotten.
   */
  readonly restoredAt: Date | undefined
  /** The time, which is the key service's own. */
  readonly now: () => Date
}
