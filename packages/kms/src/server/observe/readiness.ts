import { setTimeout as sleep } from 'node:timers/promises'
import type { AuditLog } from '../audit/index.ts'
import type { RootKey } from '../root/index.ts'
import { type Store, StoreError } from '../store/index.ts'

/**
 * Why a key service cannot serve. `SHUTTING_DOWN`: it was told to stop. `ROOT_KEY`: its root key is
 * not open. `DATABASE`: the database does not answer in time, or not at all. `INTEGRITY`: what is stored
 * was altered, or is older than it was seen. `AUDIT_LOG`: the log does not prove, or its last rows could
 * not be written.
 */
export type UnreadyReason = 'SHUTTING_DOWN' | 'ROOT_KEY' | 'DATABASE' | 'INTEGRITY' | 'AUDIT_LOG'

/** What is asked. */
interface Parts {
  readonly root: RootKey
  readonly store: Store
  readonly audit: AuditLog
  readonly isDraining: () => boolean
  /** Whether what the log is to hold could be written when that was tried last. */
  readonly isLogWritten: () => boolean
}

const ALTERED: ReadonlySet<string> = new Set(['ROW_MAC', 'ROLLED_BACK'])

/** For how long an answer counts: whoever asks all the time asks the database no more for it. */
const FRESH_MS = 1000

/** Within which the database must answer. */
const ANSWER_WITHIN_MS = 2000

/** Finds out whether a key service can serve. */
export class Readiness {
  readonly #parts: Parts
  #asked: Promise<readonly UnreadyReason[]> | undefined
  #askedAt = Number.NEGATIVE_INFINITY
  /** Whether a question is with the database still. */
  #isWaiting = false

  constructor(parts: Parts) {
    this.#parts = parts
  }

  /** Why it cannot; empty where it can. */
  async reasons(): Promise<readonly UnreadyReason[]> {
    if (this.#parts.isDraining()) return ['SHUTTING_DOWN']
    if (this.#asked === undefined || performance.now() - this.#askedAt > FRESH_MS) {
      this.#askedAt = performance.now()
      this.#asked = this.#ask()
    }
    return await this.#asked
  }

  async #ask(): Promise<readonly UnreadyReason[]> {
    const { isLogWritten, root } = this.#parts
    if (!root.isOpen) return ['ROOT_KEY']
    // One question at a time, however long it takes.
    const found = this.#isWaiting ? 'DATABASE' : await inTime(this.#askStore())
    if (found !== undefined) return [found]
    return isLogWritten() ? [] : ['AUDIT_LOG']
  }

  async #askStore(): Promise<UnreadyReason | undefined> {
    const { audit, store } = this.#parts
    this.#isWaiting = true
    try {
      return await store.read(async tx => {
        // A table of which nothing is kept in memory: the database itself must answer.
        await tx.db.selectFrom('store_state').select('id').execute()
        return await audit.root(tx).then(
          () => undefined,
          () => 'AUDIT_LOG' as const,
        )
      })
    } catch (error) {
      return error instanceof StoreError && ALTERED.has(error.code) ? 'INTEGRITY' : 'DATABASE'
    } finally {
      this.#isWaiting = false
    }
  }
}

async function inTime(
  answer: Promise<UnreadyReason | undefined>,
): Promise<UnreadyReason | undefined> {
  const controller = new AbortController()
  const options = { signal: controller.signal, ref: false }
  const late = sleep(ANSWER_WITHIN_MS, 'DATABASE' as const, options).catch(() => undefined)
  try {
    return await Promise.race([answer, late])
  } finally {
    controller.abort()
  }
}
