import type { KmsReason } from '../../protocol/errors.ts'
import type { Store } from '../store/index.ts'
import type { AuditEntry } from './entry.ts'
import type { AuditLog } from './log.ts'
import type { Witness } from './witness.ts'

/** Denials of one kind that are written whole in each batch; of the others the number. */
const SAMPLES_OF_A_KIND = 5

/** Kinds of use that are kept apart before they are written, whenever the next batch is due. */
const MAX_KINDS = 10_000

/** Uses that one row tells of. */
const USES_PER_ROW = 500

/** An ordinary use of a key, which leaves no row of its own. */
export interface Use {
  /** `account:<id>` or `ehsm:<id>`. */
  readonly actor: string
  /** The account that sees the row. */
  readonly account?: string
  readonly action: string
  readonly keyId?: string
}

/** A refusal of somebody who did not prove to be anybody. */
export interface UnprovenDenial {
  readonly action: string
  readonly reasons: readonly [KmsReason, ...KmsReason[]]
}

interface Batch {
  readonly since: Date
  readonly uses: Map<string, { readonly use: Use; count: number }>
  readonly denials: Map<string, { readonly action: string; readonly code: string; count: number }>
  readonly samples: AuditEntry[]
}

const newBatch = (since: Date): Batch => ({
  since,
  uses: new Map(),
  denials: new Map(),
  samples: [],
})

/**
 * Counts what is too frequent, or too cheap to cause, for a row each: ordinary use of keys, and
 * denials of whoever proved nothing. Batches go to the log; a crash loses the one that is counted.
 */
export class Tally {
  readonly #store: Store
  readonly #audit: AuditLog
  readonly #witness: Witness | undefined
  readonly #now: () => Date
  #batch: Batch
  #flushing: Promise<void> = Promise.resolve()
  #isWritten = true

  constructor(parts: {
    readonly store: Store
    readonly audit: AuditLog
    readonly witness: Witness | undefined
    readonly now: () => Date
  }) {
    this.#store = parts.store
    this.#audit = parts.audit
    this.#witness = parts.witness
    this.#now = parts.now
    this.#batch = newBatch(parts.now())
  }

  /** Whether the batch that was due last could be written. */
  get isWritten(): boolean {
    return this.#isWritten
  }

  /** How many rows the next batch has, as near as that is known before it is made. */
  get waiting(): number {
    const { denials, samples, uses } = this.#batch
    return uses.size + samples.length + (denials.size > 0 ? 1 : 0)
  }

  /** Counts a use. Waits for the log when too many kinds are counted already. */
  async used(use: Use): Promise<void> {
    // None of the three has a newline in it.
    const key = `${use.actor}\n${use.action}\n${use.keyId ?? ''}`
    const counted = this.#batch.uses.get(key)
    if (counted !== undefined) {
      counted.count++
      return
    }
    if (this.#batch.uses.size >= MAX_KINDS) await this.flush()
    // Others may have been counted meanwhile.
    const count = (this.#batch.uses.get(key)?.count ?? 0) + 1
    this.#batch.uses.set(key, { use, count })
  }

  /** Counts a denial; the first few of its kind are kept whole. */
  denied({ action, reasons }: UnprovenDenial): void {
    const [{ code }] = reasons
    const key = `${action}\n${code}`
    const { denials, samples } = this.#batch
    const counted = denials.get(key) ?? { action, code, count: 0 }
    counted.count++
    denials.set(key, counted)
    if (counted.count > SAMPLES_OF_A_KIND) return
    const at = this.#now().toISOString()
    samples.push({ at, actor: 'unproven', action, outcome: 'denied', reasons: [...reasons] })
  }

  /**
   * Writes what was counted, if anything was; resolves when it is on disk. What could not be written
   * is counted on.
   */
  async flush(): Promise<void> {
    const before = this.#flushing
    this.#flushing = before.catch(() => undefined).then(() => this.#write())
    try {
      await this.#flushing
      this.#isWritten = true
    } catch (error) {
      this.#isWritten = false
      throw error
    }
  }

  async #write(): Promise<void> {
    const batch = this.#batch
    const at = this.#now()
    const rows = rowsOf(batch, at)
    if (rows.length === 0) return
    this.#batch = newBatch(at)
    try {
      await this.#store.write(async tx => {
        for (const row of rows) await this.#audit.append(tx, row)
      })
    } catch (error) {
      this.#batch = merged(batch, this.#batch)
      throw error
    }
    await this.#witness?.note()
  }
}

function rowsOf({ denials, samples, since, uses }: Batch, at: Date): readonly AuditEntry[] {
  const row = { at: at.toISOString(), actor: 'kms', outcome: 'done', reasons: [] } as const
  const from = since.toISOString()
  const rows: AuditEntry[] = [...samples]
  const actors = new Set([...uses.values()].map(({ use }) => use.actor))
  for (const actor of actors) {
    const counted = [...uses.values()].filter(({ use }) => use.actor === actor)
    const account = counted[0]?.use.account
    const accounts = account === undefined ? {} : { accounts: [account] }
    for (let start = 0; start < counted.length; start += USES_PER_ROW) {
      const part = counted.slice(start, start + USES_PER_ROW).map(({ count, use }) => {
        const { action, keyId } = use
        return { action, count, ...(keyId === undefined ? {} : { keyId }) }
      })
      rows.push({ ...row, ...accounts, action: 'usage', since: from, user: actor, uses: part })
    }
  }
  if (denials.size > 0) {
    rows.push({ ...row, action: 'denials', since: from, denials: [...denials.values()] })
  }
  return rows
}

/** What was counted before, and meanwhile; of denials as many samples as ever. */
function merged(before: Batch, meanwhile: Batch): Batch {
  for (const [key, { count, use }] of meanwhile.uses) {
    const counted = before.uses.get(key) ?? { use, count: 0 }
    counted.count += count
    before.uses.set(key, counted)
  }
  for (const [key, { count, ...kind }] of meanwhile.denials) {
    const counted = before.denials.get(key) ?? { ...kind, count: 0 }
    counted.count += count
    before.denials.set(key, counted)
  }
  return before
}
