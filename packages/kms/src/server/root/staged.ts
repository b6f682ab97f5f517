import { existsSync } from 'node:fs'
import { link, mkdir, readFile, rm, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { syncPath } from '../../durable-files.ts'
import { RootKeyError } from './errors.ts'
import { createPrivateFile } from './private-file.ts'
import { ROOT_FILE, ROOT_KEY_FILE } from './root-file.ts'

const STAGED_FOLDER = 'root.next'
const CHECK_FILE = 'check'
const FILES = [ROOT_KEY_FILE, ROOT_FILE]

/**
 * The root key that takes over from the one in a data folder. It stands in `root.next` beside it,
 * with the check value of the database under it, until the one commit that puts the database under
 * it; then it takes the other's place. Wherever that is interrupted, the check value says which of
 * the two the database belongs to.
 */
export class StagedRoot {
  readonly #dataDir: string

  /** @param dataDir - The data folder of a key service. */
  constructor(dataDir: string) {
    this.#dataDir = dataDir
  }

  /** Folder of the staged root key. */
  get folder(): string {
    return join(this.#dataDir, STAGED_FOLDER)
  }

  /** Makes the folder, empty. */
  async begin(): Promise<void> {
    await this.discard()
    await mkdir(this.folder, { mode: 0o700 })
  }

  /** Notes the check value, once the key is on disk; from here on the database may be put under it. */
  async note(check: string): Promise<void> {
    await createPrivateFile(join(this.folder, CHECK_FILE), Buffer.from(check))
    await syncPath(this.#dataDir)
  }

  /**
   * Whether the database belongs to the staged root key.
   * @param check - The database's own check value
   * @throws RootKeyError IO
   */
  async isInUse(check: string | undefined): Promise<boolean> {
    try {
      return (await readFile(join(this.folder, CHECK_FILE), 'utf8')) === check
    } catch (cause) {
      if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return false
      throw new RootKeyError('IO', `${this.folder} cannot be read`, { cause })
    }
  }

  /** Puts the staged key in the other's place. Only once the database was opened with it. */
  async settle(): Promise<void> {
    const staged = FILES.filter(name => existsSync(join(this.folder, name)))
    for (const name of FILES) await rm(join(this.#dataDir, name), { force: true })
    for (const name of staged) await link(join(this.folder, name), join(this.#dataDir, name))
    await syncPath(this.#dataDir)
    // From here on the key in its place is the one that counts.
    await unlink(join(this.folder, CHECK_FILE))
    await syncPath(this.folder)
    await this.discard()
  }

  /** Removes a staged key. Only while the database does not belong to it. */
  async discard(): Promise<void> {
    await rm(this.folder, { recursive: true, force: true })
  }
}
