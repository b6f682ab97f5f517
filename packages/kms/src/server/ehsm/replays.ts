import { hash, randomUUID } from 'node:crypto'
import type { Store, StoreTransaction } from '../store/index.ts'
import type { EhsmReplaysTable } from '../store/schema.ts'
import { DIGEST_LENGTH, RecentDigests } from './recent-digests.ts'
import { MAX_SKEW_MS } from './wire/request.ts'

/** How long after its own time a request is remembered: longer than it could be taken. */
export const REMEMBERED_MS = MAX_SKEW_MS + 60_000

/** Most rows that one transaction removes, so that it never holds the store for long. */
const PURGE_LIMIT = 1000

/** Uses that one row holds: few enough to be written anew with each batch, and many for a row each. */
const USES_PER_ROW = 64

/** A digest, and the request's time in seconds. */
const USE_LENGTH = DIGEST_LENGTH + 4

/** What makes a request the same as another. */
export interface RequestIdentity {
  readonly appId: string
  readonly nonce: string | undefined
  /** Milliseconds since 1970, as digits. */
  readonly timestamp: string
}

/** What is remembered of a request. */
export interface Use {
  /** The digest as a string of one character a byte. */
  readonly name: string
  readonly digest: Buffer
  /** The request's own time. */
  readonly second: number
}

interface Waiting {
  readonly use: Use
  readonly settle: (isFirst: boolean) => void
  readonly fail: (cause: unknown) => void
}

/** The row that is being filled. */
interface OpenRow {
  readonly id: string
  readonly uses: readonly Use[]
}

/**
 * Requests taken: each once, by whichever replica, also after a restart. Those that come while a batch
 * is being written are written together in the next, so that one write to disk serves many. Before
 * a batch is written its replica has read what others took, and no other writes meanwhile.
 */
export class Replays {
  readonly #store: Store
  readonly #now: () => Date
  readonly #taken = new RecentDigests(REMEMBERED_MS / 1000)
  /** Requests that wait to be written. */
  readonly #pending = new Set<string>()
  /** Rows that other replicas wrote, and that are not read yet. */
  readonly #unread = new Set<string>()
  #row: OpenRow = { id: randomUUID(), uses: [] }
  #waiting: Waiting[] = []
  #writing = false

  private constructor(store: Store, now: () => Date) {
    this.#store = store
    this.#now = now
    store.watch('ehsm_replays', ids => {
      for (const id of ids) this.#unread.add(id)
    })
  }

  /** Reads what was taken before. @throws StoreError ROW_MAC */
  static async open(store: Store, now: () => Date): Promise<Replays> {
    const replays = new Replays(store, now)
    await store.read(async ({ db, guard }) => {
      for (const row of await db.selectFrom('ehsm_replays').selectAll().execute()) {
        guard.proven('ehsm_replays', row.batch_id, row)
        replays.#learn(row)
      }
    })
    return replays
  }

  /** Whether a request is known to have been taken before. */
  has({ digest, name, second }: Use): boolean {
    return this.#pending.has(name) || this.#taken.has(digest, second)
  }

  /**
   * Takes a request; true means that this was the first time, and that it is on disk.
   * @throws StoreError where it was not written: it may be sent again
   */
  async take(use: Use): Promise<boolean> {
    if (this.has(use)) return false
    this.#pending.add(use.name)
    return await new Promise<boolean>((settle, fail) => {
      this.#waiting.push({ use, settle, fail })
      if (this.#writing) return
      this.#writing = true
      // Whatever came in at the same moment goes together.
      setImmediate(() => void this.#write())
    })
  }

  /** Forgets what is too old to be taken again. @throws StoreError */
  async purge(): Promise<void> {
    const now = this.#now().getTime()
    while ((await this.#purgeRows(now)) === PURGE_LIMIT);
    this.#taken.forgetBefore(Math.floor(now / 1000))
  }

  async #purgeRows(now: number): Promise<number> {
    return await this.#store.write(async ({ db, guard }) => {
      const old = db.selectFrom('ehsm_replays').selectAll().where('expires_at', '<', now)
      const rows = await old.limit(PURGE_LIMIT).execute()
      // Proven first: an expiry edited with SQL must not make requests be forgotten.
      for (const row of rows) guard.proven('ehsm_replays', row.batch_id, row)
      for (const { batch_id: id } of rows) guard.remove('ehsm_replays', id)
      const ids = rows.map(({ batch_id: id }) => id)
      if (ids.length > 0) await db.deleteFrom('ehsm_replays').where('batch_id', 'in', ids).execute()
      return rows.length
    })
  }

  #learn({ uses }: Pick<EhsmReplaysTable, 'uses'>): void {
    const bytes = Buffer.from(uses, 'base64url')
    for (let at = 0; at + USE_LENGTH <= bytes.length; at += USE_LENGTH) {
      const digest = bytes.subarray(at, at + DIGEST_LENGTH)
      this.#taken.add(digest, bytes.readUInt32BE(at + DIGEST_LENGTH))
    }
  }

  async #write(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting
      this.#waiting = []
      try {
        const { first, row } = await this.#store.write(tx => this.#writeBatch(tx, batch))
        this.#row = row
        for (const { settle, use } of batch) {
          this.#taken.add(use.digest, use.second)
          this.#pending.delete(use.name)
          settle(first.has(use))
        }
      } catch (cause) {
        // It may have been written all the same, and must not be written over.
        this.#row = { id: randomUUID(), uses: [] }
        for (const { fail, use } of batch) {
          this.#pending.delete(use.name)
          fail(cause)
        }
      }
    }
    this.#writing = false
  }

  async #writeBatch(
    tx: StoreTransaction,
    batch: readonly Waiting[],
  ): Promise<{ readonly first: ReadonlySet<Use>; readonly row: OpenRow }> {
    await this.#readOthers(tx)
    const uses = batch.map(({ use }) => use)
    const first = new Set(uses.filter(use => !this.#taken.has(use.digest, use.second)))
    if (first.size === 0) return { first, row: this.#row }
    const isFull = this.#row.uses.length + first.size > USES_PER_ROW
    const open = isFull ? { id: randomUUID(), uses: [] } : this.#row
    const row = { id: open.id, uses: [...open.uses, ...first] }
    this.#put(tx, row)
    return { first, row }
  }

  /** What others took is known before anything is taken. */
  async #readOthers({ db, guard }: StoreTransaction): Promise<void> {
    if (this.#unread.size === 0) return
    const ids = [...this.#unread]
    const query = db.selectFrom('ehsm_replays').selectAll().where('batch_id', 'in', ids)
    const rows = new Map((await query.execute()).map(row => [row.batch_id, row]))
    for (const id of ids) {
      const row = guard.proven('ehsm_replays', id, rows.get(id))
      if (row !== undefined) this.#learn(row)
      this.#unread.delete(id)
    }
  }

  #put(tx: StoreTransaction, { id, uses }: OpenRow): void {
    const seconds = uses.map(({ second }) => second)
    const columns = {
      batch_id: id,
      expires_at: Math.max(...seconds) * 1000 + REMEMBERED_MS,
      uses: Buffer.concat(uses.map(encodeUse)).toString('base64url'),
    }
    const stamp = tx.guard.stamp<EhsmReplaysTable>('ehsm_replays', id, columns)
    tx.put('ehsm_replays', { ...columns, ...stamp })
  }
}

/** Account, nonce and time, as upstream compares them: an absent nonce is like any other. */
export function useOf({ appId, nonce, timestamp }: RequestIdentity): Use {
  const text = JSON.stringify([appId, nonce ?? null, timestamp])
  // As text first: a buffer of its own for each digest costs more than the digest does.
  const name = hash('sha256', text, 'binary').slice(0, DIGEST_LENGTH)
  const digest = Buffer.from(name, 'latin1')
  return { digest, name, second: Math.floor(Number(timestamp) / 1000) }
}

function encodeUse({ digest, second }: Use): Buffer {
  const bytes = Buffer.alloc(USE_LENGTH)
  digest.copy(bytes)
  bytes.writeUInt32BE(second, DIGEST_LENGTH)
  return bytes
}
