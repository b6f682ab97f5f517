import { execFile } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { constants, createReadStream, existsSync } from 'node:fs'
import {
  access,
  type FileHandle,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { LockError } from '../lock/errors.ts'
import { type BlobDigest, BlobWriter } from './blob.ts'

const run = promisify(execFile)
const ABANDONED_MS = 24 * 60 * 60 * 1000
const SHA256 = /^[0-9a-f]{64}$/

/**
 * Files by their SHA-256, shared by all builds of a home. A file appears whole or not at all, is
 * never changed after, and is compared with its name whenever it is read.
 */
export class Store {
  /** Absolute path. */
  readonly folder: string
  readonly #temporary: string
  readonly #shelves = new Set<string>()

  private constructor(folder: string) {
    this.folder = folder
    this.#temporary = join(folder, 'tmp')
  }

  /**
   * Opens the store in a folder, which is made where it is not there.
   * @throws LockError STORE
   */
  static async open(folder: string): Promise<Store> {
    const store = new Store(resolve(folder))
    try {
      await mkdir(store.#temporary, { recursive: true, mode: 0o700 })
      await mkdir(join(store.folder, 'derived'), { recursive: true, mode: 0o700 })
      await store.#sweep()
    } catch (cause) {
      throw new LockError('STORE', `cannot make ${store.folder}`, { cause })
    }
    return store
  }

  /** Where a file with that digest is, or would be. */
  path(sha256: string): string {
    if (!SHA256.test(sha256)) throw new LockError('STORE', `${sha256} is no SHA-256`)
    return join(this.folder, 'sha256', sha256.slice(0, 2), sha256.slice(2))
  }

  /** Whether a file with that digest is there. Its bytes are not looked at. */
  async has(sha256: string): Promise<boolean> {
    return access(this.path(sha256), constants.R_OK).then(
      () => true,
      () => false,
    )
  }

  /** Takes bytes in. @throws LockError STORE */
  async put(source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<BlobDigest> {
    const writer = new BlobWriter(this.#temporary)
    try {
      for await (const piece of source) await writer.write(piece)
      return await writer.finish(async ({ sha256 }) => {
        await this.#shelf(sha256)
        return existsSync(this.path(sha256)) ? undefined : this.path(sha256)
      })
    } catch (cause) {
      await writer.abandon().catch(() => undefined)
      throw storeFault(cause, `cannot write to ${this.folder}`)
    }
  }

  /** Takes a file in. @throws LockError STORE */
  async putFile(path: string): Promise<BlobDigest> {
    return await this.put(createReadStream(path, { highWaterMark: 1 << 20 }))
  }

  /** Opens a file for reading; whoever reads it compares it with its digest. */
  async openUnverified(sha256: string): Promise<FileHandle> {
    try {
      return await open(this.path(sha256), constants.O_RDONLY | constants.O_NOFOLLOW)
    } catch (cause) {
      throw new LockError('ARTEFACT_MISSING', `the store lacks ${sha256}`, { cause })
    }
  }

  /**
   * Reads a file whole.
   * @throws LockError ARTEFACT_MISSING, ARTEFACT_CHANGED
   */
  async read(sha256: string): Promise<Uint8Array> {
    const file = await this.openUnverified(sha256)
    const bytes = await file.readFile().finally(() => file.close())
    this.#assertDigest(sha256, createHash('sha256').update(bytes).digest('hex'))
    return bytes
  }

  /**
   * Compares a file with its name.
   * @throws LockError ARTEFACT_MISSING, ARTEFACT_CHANGED
   */
  async verify(sha256: string): Promise<void> {
    const file = await this.openUnverified(sha256)
    const hash = createHash('sha256')
    for await (const piece of file.createReadStream({ highWaterMark: 1 << 20 })) hash.update(piece)
    this.#assertDigest(sha256, hash.digest('hex'))
  }

  /** What was made of something else before, by a name that says of what and how. */
  async derived(name: string): Promise<Uint8Array | undefined> {
    const sha256 = await readFile(this.#derivedPath(name), 'utf8').catch(() => undefined)
    if (sha256 === undefined || !SHA256.test(sha256) || !(await this.has(sha256))) return undefined
    return await this.read(sha256)
  }

  /** Remembers what was made; on disk, with all files put before, when this returns. */
  async remember(name: string, bytes: Uint8Array): Promise<void> {
    const { sha256 } = await this.put([bytes])
    await this.sync()
    const temporary = join(this.#temporary, randomBytes(12).toString('hex'))
    await writeFile(temporary, sha256)
    await rename(temporary, this.#derivedPath(name))
  }

  /** Forgets what was made: it is made anew when it is next wanted. */
  async forget(name: string): Promise<void> {
    await rm(this.#derivedPath(name), { force: true })
  }

  /** Waits until everything that was put is on disk. */
  async sync(): Promise<void> {
    await run('sync', ['-f', this.folder])
  }

  /** A folder of the caller's own in the store's file system, removed after `work`. */
  async withTemporaryFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
    const folder = join(this.#temporary, randomBytes(12).toString('hex'))
    await mkdir(folder, { mode: 0o700 })
    try {
      return await work(folder)
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  }

  /** Removes what a killed process left unfinished, long after anybody could still be at it. */
  async #sweep(): Promise<void> {
    for (const name of await readdir(this.#temporary)) {
      const path = join(this.#temporary, name)
      const stats = await stat(path).catch(() => undefined)
      if (stats !== undefined && Date.now() - stats.mtimeMs > ABANDONED_MS) {
        await rm(path, { recursive: true, force: true })
      }
    }
  }

  #derivedPath(name: string): string {
    if (!/^[0-9A-Za-z.-]+$/.test(name)) throw new LockError('STORE', `${name} is no name`)
    return join(this.folder, 'derived', name)
  }

  #assertDigest(wanted: string, seen: string): void {
    if (wanted === seen) return
    throw new LockError(
      'ARTEFACT_CHANGED',
      `${this.path(wanted)}: wanted SHA-256 ${wanted}, seen ${seen}`,
    )
  }

  async #shelf(sha256: string): Promise<void> {
    const name = sha256.slice(0, 2)
    if (this.#shelves.has(name)) return
    await mkdir(join(this.folder, 'sha256', name), { recursive: true, mode: 0o700 })
    this.#shelves.add(name)
  }
}

function storeFault(cause: unknown, message: string): unknown {
  const isSystem = cause instanceof Error && 'syscall' in cause
  return isSystem ? new LockError('STORE', `${message}: ${cause.message}`, { cause }) : cause
}
