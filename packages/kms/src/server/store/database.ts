import type { DialectParts, RunQuery } from './dialect.ts'
import type { Statement } from './statements.ts'

/** The one row that vouches for all others. */
export interface StoredState {
  readonly root_check: string
  readonly epoch: number
  readonly mac: string
}

/** How a transaction ends. */
export interface CommitOptions {
  /** Whether it was begun; one that asked nothing is all in one step. */
  readonly isBegun: boolean
  readonly statements: readonly Statement[]
  /** Moves the state row on from where it must be, or nothing is committed. */
  readonly state: Statement | undefined
}

/** A database of one kind, over one connection: one transaction at a time. */
export interface Database {
  /** Whether other processes write to it too, and tell each other what they changed. */
  readonly isShared: boolean
  readonly dialect: DialectParts
  /** Runs a statement, in the transaction at hand. Those that do not wait for each other keep their order. */
  readonly run: RunQuery

  /**
   * Begins a transaction, and reads the state row; undefined where there is none. Of transactions
   * that write there is one at a time, of all processes'.
   * @throws StoreError CONNECTION, BUSY, SQL, CLOSED, WORKER
   */
  begin(mode: 'read' | 'write'): Promise<StoredState | undefined>

  /**
   * Sends statements of the transaction at hand that nobody waits for one by one. When one fails,
   * whatever comes after it in the transaction fails too.
   * @throws StoreError
   */
  send(statements: readonly Statement[]): Promise<void>

  /**
   * Runs the last statements of a transaction and ends it: its changes are on disk when this resolves,
   * and none is there when it throws, unless it throws OUTCOME.
   * @throws StoreError OUTCOME when the connection was lost and nobody told whether before or after
   * the commit; CONFLICT or ROW_MAC when the state row is not where it was; CONNECTION, SQL, CLOSED,
   * WORKER
   */
  commit(end: CommitOptions): Promise<void>

  /** Ends the transaction, if there is one, without its changes. Never throws for a lost connection. */
  rollback(): Promise<void>

  /**
   * Runs `work` while no other process has the database open.
   * @throws StoreError LOCKED, and whatever `work` throws
   */
  exclusively<T>(work: () => Promise<T>): Promise<T>

  /** The time, which is the same for all who share the database. @throws StoreError CLOCK */
  now(): Date

  /** Ends the connection. */
  close(): Promise<void>
}

/** Reads the state row; undefined where there is none. */
export function storedStateFrom(row: Record<string, unknown> | undefined): StoredState | undefined {
  if (row === undefined) return undefined
  const { epoch, mac, root_check: rootCheck } = row
  return { root_check: String(rootCheck), epoch: Number(epoch), mac: String(mac) }
}
