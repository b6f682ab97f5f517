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

/** Customer master keys, without their material. */
export interface KeysTable extends Stamp {
  key_id: string
  owner: string
  alias: string | null
  mode: 'attested-only' | 'open'
  state: 'enabled' | 'disabled'
  current_version: number
  created_at: string
}

/** Key material, wrapped under a root-derived key. `id` is `<key id>/<version>`. */
interface KeyVersionsTable extends Stamp {
  id: string
  key_id: string
  version: number
  wrapped: string
  created_at: string
}

/** Accounts. */
export interface AccountsTable extends Stamp {
  account_id: string
  credential_hash: string
  created_at: string
}

/** Release policies: the template as canonical JSON, and the Cedar text written from it. */
export interface PoliciesTable extends Stamp {
  policy_id: string
  owner: string
  key_id: string
  template: string
  cedar: string
  created_at: string
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
interface AuditLeavesTable extends Stamp {
  idx: number
  entry: string
}

/** Hashes of the log's complete subtrees. `node` is `<level>/<index>`. Proofs check them. */
interface AuditNodesTable {
  node: string
  hash: string
}

/** The database. */
export interface Schema {
  store_state: StoreStateTable
  keys: KeysTable
  key_versions: KeyVersionsTable
  accounts: AccountsTable
  policies: PoliciesTable
  heads: HeadsTable
  consumed: ConsumedTable
  secrets: SecretsTable
  audit_log: AuditLogTable
  audit_leaves: AuditLeavesTable
  audit_nodes: AuditNodesTable
}

/**
 * Tables whose rows are tracked, with the column that names a row: a row that is missing, added or
 * put back to an earlier state is noticed, beside one that was edited.
 */
export const TRACKED = {
  keys: 'key_id',
  key_versions: 'id',
  accounts: 'account_id',
  policies: 'policy_id',
  heads: 'dataset_id',
  consumed: 'id',
  secrets: 'name',
  audit_log: 'id',
} as const

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
