import { KmsError } from '../../protocol/errors.ts'
import type { Store } from '../store/index.ts'
import { type Checkpoint, signCheckpoint, verifyCheckpoint } from './checkpoint.ts'
import { AuditError } from './errors.ts'
import type { AuditLog } from './log.ts'
import type { NoteSigner } from './note.ts'
import { openKeeper, type WitnessKeeper } from './witness-keeper.ts'

/** The log that a {@link Witness} keeps watch over. */
interface Watched {
  readonly store: Store
  readonly audit: AuditLog
  readonly logKey: NoteSigner
  /** Whether replicas share the database, and so the witness. */
  readonly isShared: boolean
}

/**
 * The log's newest checkpoint, kept where whoever can put back the database cannot put back this: no
 * answer is given before it is there. Replicas keep theirs in one folder, and each demands that the
 * log it is shown continues what the others were shown.
 */
export class Witness {
  readonly #keeper: WitnessKeeper
  readonly #watched: Watched
  /** The newest that was found to be of this log. */
  #known = 0
  #running: Promise<void> = Promise.resolve()
  #next: Promise<void> | undefined

  private constructor(keeper: WitnessKeeper, watched: Watched) {
    this.#keeper = keeper
    this.#watched = watched
  }

  /**
   * Requires the log to continue the checkpoint that is kept. An empty log makes the first.
   * @param path - A file; where replicas share the database, a folder that they share too
   * @throws AuditError ROLLED_BACK when it does not, WITNESS when there is none, CHECKPOINT when what
   * is kept is no checkpoint of this log
   */
  static async open(path: string, watched: Watched): Promise<Witness> {
    const witness = new Witness(await openKeeper(path, watched.isShared), watched)
    await witness.#requireContinued()
    await witness.note()
    return witness
  }

  /**
   * Takes the log as it is for the one to keep watch over, whatever was kept: its database was
   * restored. What was kept is put aside.
   * @returns the checkpoint that was kept, where it is of this log
   */
  static async startAnew(path: string, watched: Watched): Promise<Checkpoint | undefined> {
    const keeper = await openKeeper(path, watched.isShared)
    const kept = await keeper.newest()
    await keeper.putAside()
    const witness = new Witness(keeper, watched)
    await witness.#write()
    return kept === undefined ? undefined : verifyCheckpoint(kept, watched.logKey)
  }

  /**
   * Resolves when a checkpoint at least as new as the log is now is kept. Calls that come while one is
   * written share the next writing.
   * @throws KmsError UNAVAILABLE when it cannot be written; INTEGRITY when another replica was shown
   * another log
   */
  note(): Promise<void> {
    this.#next ??= this.#running
      .catch(() => undefined)
      .then(async () => {
        this.#next = undefined
        await this.#write()
      })
    this.#running = this.#next
    return this.#next
  }

  async #requireContinued(): Promise<void> {
    const { audit, logKey, store } = this.#watched
    const kept = await this.#keeper.newest()
    const { size } = await store.read(tx => audit.root(tx))
    if (kept === undefined) {
      if (size === 0) return
      throw new AuditError('WITNESS', `${this.#keeper.path} has none, and the log has ${size} rows`)
    }
    const before = verifyCheckpoint(kept, logKey)
    if (size < before.size) {
      const rows = `the witness has seen ${before.size} rows, the log has ${size}`
      throw new AuditError('ROLLED_BACK', `${rows}: an older database was put back`)
    }
    const { rootHash } = await store.read(tx => audit.stateAt(tx, before.size))
    if (Buffer.compare(rootHash, before.rootHash) !== 0) {
      const rows = `the log's first ${before.size} rows are not those that the witness has seen`
      throw new AuditError('ROLLED_BACK', `${rows}: an older database was put back, and went on`)
    }
    this.#known = before.size
  }

  async #write(): Promise<void> {
    const { audit, logKey, store } = this.#watched
    try {
      const theirs = await this.#keeper.newerThan(this.#known)
      if (theirs) await this.#requireContinued()
    } catch (cause) {
      if (!(cause instanceof AuditError)) throw unavailable(cause)
      throw new KmsError('INTEGRITY', 'the witness has seen another log than this replica', {
        cause,
        reasons: [{ code: cause.code, message: cause.message }],
      })
    }
    const state = await store.read(tx => audit.root(tx))
    try {
      await this.#keeper.keep(signCheckpoint(state, logKey), state.size)
    } catch (cause) {
      throw unavailable(cause)
    }
    this.#known = Math.max(this.#known, state.size)
  }
}

const unavailable = (cause: unknown) =>
  new KmsError('UNAVAILABLE', 'the witness cannot be read or written', { cause })
