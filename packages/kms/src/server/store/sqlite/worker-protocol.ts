import type { SqlValue } from '../sql-value.ts'

/** What the worker is started with. */
export interface WorkerOptions {
  /** The database file, which exists. */
  readonly path: string
  /** A file, which exists, whose lock keeps other processes out of the database. */
  readonly lockPath: string
  readonly busyTimeoutMs: number
}

/** One statement and what it is run with. */
export interface SqlStatement {
  readonly sql: string
  readonly parameters: readonly SqlValue[]
  /** How many rows it must change; any number unless told. */
  readonly changes?: number
}

/** What the store's thread asks of the worker; answered in order. */
export type WorkerRequest = { readonly id: number } & (
  | { readonly kind: 'steps'; readonly statements: readonly SqlStatement[] }
  | { readonly kind: 'rollback' }
  | { readonly kind: 'close' }
)

/** What the worker answers. `id` 0 answers the start. */
export type WorkerReply = { readonly id: number } & (
  | {
      readonly kind: 'done'
      readonly rows: readonly Record<string, unknown>[]
      readonly changes: number
    }
  | {
      readonly kind: 'failed'
      readonly code: 'LOCKED' | 'SQL' | 'ROW_MAC'
      readonly message: string
    }
)
