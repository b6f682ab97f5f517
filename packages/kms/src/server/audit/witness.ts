import { randomBytes } from 'node:crypto'
import { open, readFile, rename } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { KmsError } from '../../protocol/errors.ts'
import type { Store } from '../store/index.ts'
import { signCheckpoint, verifyCheckpoint } from './checkpoint.ts'
import { AuditError } from './errors.ts'
import type { AuditLog } from './log.ts'
import type { NoteSigner } from './note.ts'

/** The log that a {@link Witness} keeps watch over. */
interface Watched {
  readonly store: Store
  readonly audit: AuditLog
  readonly logKey: NoteSigner
}

/**
 * The log's newest checkpoint in a file, which stands where whoever can put back the database cannot
 * put back this: no answer is given before the file knows of it.
 */
export class Witness {
  readonly #path: string
  readonly #watched: Watched
  #running: Promise<void> = Promise.resolve()
  #next: Promise<void> | undefined

  private constructor(path: string, watched: Watched) {
    this.#path = path
    this.#watched = watched
  }

  /**
   * Requires the log to continue the checkpoint in a file. An empty log makes the file.
   * @throws AuditError ROLLED_BACK when it does not, WITNESS when the file is not there, CHECKPOINT
   * when what it holds is no checkpoint of this log
   */
  static async open(path: string, watched: Watched): Promise<Witness> {
    const witness = new Witness(path, watched)
    await witness.#require(await textOf(path))
    await witness.note()
    return witness
  }

  /**
   * Resolves when the file holds a checkpoint at least as new as the log is now. Calls that come
   * while it is written share the next writing.
   * @throws KmsError UNAVAILABLE when it cannot be written
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

  async #require(kept: string | undefined): Promise<void> {
    const { audit, logKey, store } = this.#watched
    const { size } = await store.read(tx => audit.root(tx))
    if (kept === undefined) {
      if (size === 0) return
      throw new AuditError('WITNESS', `${this.#path} is not there, and the log has ${size} rows`)
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
  }

  async #write(): Promise<void> {
    const { audit, logKey, store } = this.#watched
    const state = await store.read(tx => audit.root(tx))
    try {
      await replaceFile(this.#path, signCheckpoint(state, logKey))
    } catch (cause) {
      throw new KmsError('UNAVAILABLE', 'the witness cannot be written', { cause })
    }
  }
}

async function textOf(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
}

/** Whole or not at all, and there after a crash. */
async function replaceFile(path: string, text: string): Promise<void> {
  const temporary = join(dirname(path), `.${randomBytes(6).toString('hex')}.tmp`)
  const file = await open(temporary, 'wx', 0o600)
  try {
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(temporary, path)
  const folder = await open(dirname(path), 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}
