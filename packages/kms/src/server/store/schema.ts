/** What protects a row: its version, counted from 1, and the MAC over its place and columns. */
export interface Stamp {
  readonly row_version: number
  readonly mac: string
}

/** One row: which root key this is, and the digest over all tracked rows. */
interface StoreStateTable {
  id: number
  root_check: string
  epoch: number
  mac: string
}

/** Customer master keys, without their material. Instants of whole numbers are in ms since 1970. */
export interface KeysTable extends Stamp {
  key_id: string
  owner: string
  /** Of before aliases had a table; null since. */
  alias: string | null
  mode: 'attested-only' | 'open'
  state: 'enabled' | 'disabled' | 'pending-import' | 'pending-deletion' | 'deleted'
  current_version: number
  created_at: string
  /** Kind of key; null for the symmetric one, which was the only one. */
  spec: string | null
  /** Null for `ENCRYPT_DECRYPT`. */
  usage: string | null
  /** Null for material that was made here. */
  origin: 'external' | null
  description: string | null
  /** RFC 8785 JSON; null for none. */
  tags: string | null
  deletion_at: number | null
  rotation_days: number | null
  next_rotation_at: number | null
}

/** Names that accounts have for their keys. `id` is `<account>/<alias>`. */
export interface KeyAliasesTable extends Stamp {
  id: string
  owner: string
  alias: string
  key_id: string
  created_at: string
}

/** The wrapping key that a key's material may be imported under, itself wrapped. */
export interface KeyImportsTable extends Stamp {
  key_id: string
  algorithm: string
  spec: string
  public_digest: string
  wrapped: string
  expires_at: number
}

/** Key material, wrapped under a root-derived key. `id` is `<key id>/<version>`. */
export interface KeyVersionsTable extends Stamp {
  id: string
  key_id: string
  version: number
  wrapped: string
  created_at: string
}

/** Accounts as they were before tenants; whatever is there at a start is moved to the tables below. */
export interface AccountsTable extends Stamp {
  account_id: string
  credential_hash: string
  created_at: string
}

/** Tenants of the installation. */
export interface TenantsTable extends Stamp {
  tenant_id: string
  name: string
  state: 'enabled' | 'disabled'
  created_at: string
}

/** Accounts: the people and services of a tenant. */
export interface TenantAccountsTable extends Stamp {
  account_id: string
  tenant_id: string
  name: string
  kind: 'person' | 'service'
  role: 'administrator' | 'member'
  state: 'enabled' | 'disabled'
  created_at: string
}

/**
 * Credentials of accounts. `hash` is of a bearer credential; `certificate` says which certificate
 * it is bound to, or is the credential where there is no hash. `scopes` and `key_ids` are JSON.
 */
export interface CredentialsTable extends Stamp {
  credential_id: string
  account_id: string
  name: string
  hash: string | null
  certificate: string | null
  scopes: string
  key_ids: string | null
  created_at: string
  expires_at: string | null
  revoked_at: string | null
  replaced_by: string | null
}

/** How often a credential was used, and when last; written in batches. */
export interface CredentialUsesTable extends Stamp {
  credential_id: string
  uses: number
  last_used_at: string
}

/** What an owner lets another account of the tenant do with a key. `id` is `<key id>/<account id>`. */
export interface KeyGrantsTable extends Stamp {
  id: string
  key_id: string
  account_id: string
  actions: string
  created_at: string
}

/** Release policies: what the text comes from as canonical JSON, and the Cedar text, which decides. */
export interface PoliciesTable extends Stamp {
  policy_id: string
  owner: string
  key_id: string
  template: string
  cedar: string
  created_at: string
}

/** Which policies a key has: their ids, separated by spaces. */
export interface PolicySetsTable extends Stamp {
  key_id: string
  policy_ids: string
}

/** What nothing is released to. `by` is an account's id, or `operator`. */
export interface WithdrawalsTable extends Stamp {
  withdrawal_id: string
  by: string
  kind: 'measurement' | 'signer'
  value: string
  reason: string
  created_at: string
}

/** How often there was a release. `id` is `key:<key id>` or `policy:<policy id>`. */
export interface ReleaseCountsTable extends Stamp {
  id: string
  releases: number
}

/** Where each dataset stands. */
export interface HeadsTable extends Stamp {
  dataset_id: string
  owner: string
  version: number
  manifest_digest: string
  writer_key: string
}

/** What may be used once and was. `id` is `<kind>:<id>`, `expires_at` in ms since 1970. */
export interface ConsumedTable extends Stamp {
  id: string
  expires_at: number
}

/** The KMS's own secrets, wrapped under a root-derived key. */
export interface SecretsTable extends Stamp {
  name: string
  wrapped: string
}

/** One row: the audit log's size, and the roots of its complete subtrees from left to right. */
export interface AuditLogTable extends Stamp {
  id: number
  size: number
  frontier: string
}

/** Entries of the audit log; never changed, and so not tracked beyond the log's size. */
export interface AuditLeavesTable extends Stamp {
  idx: number
  entry: string
}

/** Hashes of the log's complete subtrees. `node` is `<level>/<index>`. Proofs check them. */
interface AuditNodesTable {
  node: string
  hash: string
}

/** Accounts of the eHSM-compatible interface; the API key is wrapped, as requests are MACed with it. */
export interface EhsmAccountsTable extends Stamp {
  app_id: string
  api_key: string
  created_at: number
  /** Null while it is taken. */
  state: 'disabled' | null
  /** The API key before this one, itself wrapped, and until when it is taken. */
  previous_api_key: string | null
  previous_ends_at: number | null
  /** 1 where the API key replaced another and has signed nothing yet. */
  is_unused: 1 | null
}

/** Keys of the eHSM-compatible interface. `wrapped` is null until material is imported. */
export interface EhsmKeysTable extends Stamp {
  key_id: string
  app_id: string
  spec: string
  origin: 'internal' | 'external'
  usage: 'encrypt-decrypt' | 'sign-verify'
  state: 'enabled' | 'disabled'
  is_default: number
  created_at: number
  expires_at: number
  wrapped: string | null
}

/** The wrapping key that a key's material may be imported under, itself wrapped. */
export interface EhsmImportsTable extends Stamp {
  key_id: string
  public_digest: string
  wrapped: string
  created_at: number
}

/** Measurements that an account has quotes compared with. */
export interface EhsmQuotePoliciesTable extends Stamp {
  policy_id: string
  app_id: string
  mr_enclave: string
  mr_signer: string
  created_at: number
}

/** Secrets of an account, without their values. `secret_id` is a digest over account and name. */
export interface EhsmSecretsTable extends Stamp {
  secret_id: string
  app_id: string
  name: string
  description: string | null
  key_id: string
  rotation_interval: string | null
  current_version: number
  created_at: number
  delete_at: number | null
}

/** Values of secrets. `id` is `<secret id>/<version>`. */
export interface EhsmSecretVersionsTable extends Stamp {
  id: string
  secret_id: string
  version: number
  ciphertext: string
  created_at: number
}

/** Signed requests taken: digests of 16 bytes each, a row for those that came together. */
export interface EhsmReplaysTable extends Stamp {
  batch_id: string
  expires_at: number
  uses: string
}

/** What each of the last transactions changed, for replicas to go by. */
interface StoreChangesTable {
  epoch: number
  changes: string
  mac: string
}

/** The database. */
export interface Schema {
  store_state: StoreStateTable
  store_changes: StoreChangesTable
  keys: KeysTable
  key_versions: KeyVersionsTable
  key_aliases: KeyAliasesTable
  key_imports: KeyImportsTable
  accounts: AccountsTable
  tenants: TenantsTable
  tenant_accounts: TenantAccountsTable
  credentials: CredentialsTable
  credential_uses: CredentialUsesTable
  key_grants: KeyGrantsTable
  policies: PoliciesTable
  policy_sets: PolicySetsTable
  withdrawals: WithdrawalsTable
  release_counts: ReleaseCountsTable
  heads: HeadsTable
  consumed: ConsumedTable
  secrets: SecretsTable
  audit_log: AuditLogTable
  audit_leaves: AuditLeavesTable
  audit_nodes: AuditNodesTable
  ehsm_accounts: EhsmAccountsTable
  ehsm_keys: EhsmKeysTable
  ehsm_imports: EhsmImportsTable
  ehsm_quote_policies: EhsmQuotePoliciesTable
  ehsm_secrets: EhsmSecretsTable
  ehsm_secret_versions: EhsmSecretVersionsTable
  ehsm_replays: EhsmReplaysTable
}

/**
 * Tables whose rows are tracked, with the column that names a row: a row that is missing, added or
 * put back to an earlier state is noticed, beside one that was edited.
 */
export const TRACKED = {
  keys: 'key_id',
  key_versions: 'id',
  key_aliases: 'id',
  key_imports: 'key_id',
  accounts: 'account_id',
  tenants: 'tenant_id',
  tenant_accounts: 'account_id',
  credentials: 'credential_id',
  credential_uses: 'credential_id',
  key_grants: 'id',
  policies: 'policy_id',
  policy_sets: 'key_id',
  withdrawals: 'withdrawal_id',
  release_counts: 'id',
  heads: 'dataset_id',
  consumed: 'id',
  secrets: 'name',
  audit_log: 'id',
  ehsm_accounts: 'app_id',
  ehsm_keys: 'key_id',
  ehsm_imports: 'key_id',
  ehsm_quote_policies: 'policy_id',
  ehsm_secrets: 'secret_id',
  ehsm_secret_versions: 'id',
  ehsm_replays: 'batch_id',
} as const

/**
 * Columns that came later than their table. A row of before has none of them: null in one of them is
 * MACed as if it were not there, so that such rows stay as they were proven.
 */
export const ADDED: Readonly<Record<string, readonly string[]>> = {
  keys: [
    'spec',
    'usage',
    'origin',
    'description',
    'tags',
    'deletion_at',
    'rotation_days',
    'next_rotation_at',
  ],
  ehsm_accounts: ['state', 'previous_api_key', 'previous_ends_at', 'is_unused'],
}

/** A table in {@link TRACKED}. */
export type TrackedTable = keyof typeof TRACKED

/** The columns of a row that its MAC covers. */
export type Columns<Row> = Omit<Row, keyof Stamp>

/** What a column of JSON may hold. */
export type JsonValue =
  | string
  | number
  | boolean
  | null
  | readonly JsonValue[]
  | { readonly [name: string]: JsonValue }
