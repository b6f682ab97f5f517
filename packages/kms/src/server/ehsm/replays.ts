import { createHash, randomUUID } from 'node:crypto'
import type { Store } from '../store/index.ts'
import type { EhsmReplaysTable } from '../store/schema.ts'

/** How long a request taken is remembered: longer than its time is accepted, on either side. */
export const REPLAY_WINDOW_MS = 1_200_000

const DIGEST_LENGTH = 16

/** Most rows that one transaction removes, so that it never holds the store for long. */
const PURGE_LIMIT = 1000

/** Digests as text of 16 characters and times as small numbers: there may be millions of them. */
const DIGEST_TEXT = 'latin1'
const secondOf = (ms: number): number => Math.ceil(ms / 1000)

/** What makes a request the same as another. */
export interface RequestIdentity {
  readonly appId: string
  readonly nonce: string | undefined
  readonly timestamp: string
}

interface Waiting {
  readonly use: string
  readonly taken: () => void
  readonly failed: (cause: unknown) => void
}

/**
 * Requests taken: each once, also after a restart. Those that come while a batch is being written are
 * written together in the next, so that one write to disk serves many.
 */
export class Replays {
  readonly #store: Store
  readonly #now: () => Date
  readonly #expiries = new Map<string, number>()
  #waiting: Waiting[] = []
  #writing = false

  private constructor(store: Store, now: () => Date) {
    this.#store = store
    this.#now = now
  }

  /** Reads what was taken before. @throws StoreError ROW_MAC */
  static async open(store: Store, now: () => Date): Promise<Replays> {
    const replays = new Replays(store, now)
    const rows = await store.read(async ({ db, guard }) => {
      const found = await db.selectFrom('ehsm_replays').selectAll().orderBy('expires_at').execute()
      for (const row of found) guard.proven('ehsm_replays', row.batch_id, row)
      return found
    })
    for (const { expires_at, uses } of rows) {
      const bytes = Buffer.from(uses, 'base64url')
      for (let at = 0; at < bytes.length; at += DIGEST_LENGTH) {
        const use = bytes.subarray(at, at + DIGEST_LENGTH).toString(DIGEST_TEXT)
        replays.#expiries.set(use, secondOf(expires_at))
      }
    }
    return replays
  }

  /** Whether a request was taken before. */
  has(identity: RequestIdentity): boolean {
    return this.#expiries.has(useOf(identity))
  }

  /**
   * Takes a request; true means that this was the first time, and that it is on disk.
   * @throws StoreError
   */
  async take(identity: RequestIdentity): Promise<boolean> {
    const use = useOf(identity)
    if (this.#expiries.has(use)) return false
    this.#expiries.set(use, secondOf(this.#expiry()))
    await new Promise<void>((taken, failed) => {
      this.#waiting.push({ use, taken, failed })
      if (!this.#writing) void this.#write()
    })
    return true
  }

  /** Forgets what is too old to be taken again. @throws StoreError */
  async purge(): Promise<void> {
    const now = this.#now().getTime()
    while ((await this.#purgeRows(now)) === PURGE_LIMIT);
    // In the order in which they were taken: the first that is young ends it.
    for (const [use, expiresAt] of this.#expiries) {
      if (expiresAt >= secondOf(now)) break
      this.#expiries.delete(use)
    }
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

  #expiry(): number {
    return this.#now().getTime() + REPLAY_WINDOW_MS
  }

  async #write(): Promise<void> {
    this.#writing = true
    while (this.#waiting.length > 0) {
      const batch = this.#waiting
      this.#waiting = []
      try {
        await this.#writeBatch(batch.map(({ use }) => Buffer.from(use, DIGEST_TEXT)))
        for (const { taken } of batch) taken()
      } catch (cause) {
        for (const { failed } of batch) failed(cause)
      }
    }
    this.#writing = false
  }

  async #writeBatch(uses: readonly Buffer[]): Promise<void> {
    const columns = {
      batch_id: randomUUID(),
      expires_at: this.#expiry(),
      uses: Buffer.concat(uses).toString('base64url'),
    }
    await this.#store.writeAtOnce(({ db, guard }) => {
      const stamp = guard.stamp<EhsmReplaysTable>('ehsm_replays', columns.batch_id, columns)
      return [db.insertInto('ehsm_replays').values({ ...columns, ...stamp })]
    })
  }
}

/** Account, nonce and time, as upstream compares them: an absent nonce is like any other. */
function useOf({ appId, nonce, timestamp }: RequestIdentity): string {
  const text = JSON.stringify([appId, nonce ?? null, timestamp])
  const digest = createHash('sha256').update(text).digest()
  return digest.subarray(0, DIGEST_LENGTH).toString(DIGEST_TEXT)
}
