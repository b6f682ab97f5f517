import { randomBytes } from 'node:crypto'
import { open, readFile, rename, stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { makeFolder } from './files/make-folder.ts'
import { UsageError } from './usage-error.ts'

/** What the command line keeps between runs, one file each, all of mode 0600. */
export const HOME_FILES = {
  pin: 'kms.json',
  credential: 'credential',
  clientCertificate: 'client-certificate.pem',
  clientKey: 'client-key.pem',
  ownerKey: 'owner-key.pem',
  signingKey: 'image-signing-key.pem',
  platform: 'sim-platform.json',
} as const

/** Name of a file in the home folder. */
export type HomeFile = keyof typeof HOME_FILES

/** A folder of mode 0700 with the person's credentials and keys. */
export class Home {
  /** The folder's path. */
  readonly folder: string

  /** @param folder - Given by `--home`; default `~/.cloister`. */
  constructor(folder: string = join(homedir(), '.cloister')) {
    this.folder = folder
  }

  /** The path of one of the home's files. */
  path(file: HomeFile): string {
    return join(this.folder, HOME_FILES[file])
  }

  /**
   * Reads a file of the home.
   * @throws UsageError when it is absent, or when others may read it.
   */
  async read(file: HomeFile, nextStep: string): Promise<string> {
    const found = await this.find(file)
    if (found === undefined) {
      throw new UsageError(`${this.path(file)} is not there`, nextStep)
    }
    return found
  }

  /** Reads a file of the home, or gives `undefined` where there is none. */
  async find(file: HomeFile): Promise<string | undefined> {
    const path = this.path(file)
    try {
      const { mode } = await stat(path)
      if ((mode & 0o077) !== 0) {
        throw new UsageError(
          `${path} may be read by others (mode ${(mode & 0o777).toString(8)}, wanted 600)`,
          `chmod 600 ${path}, and think about who has read it`,
        )
      }
      return await readFile(path, 'utf8')
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
      throw error
    }
  }

  /** Writes a file of the home: mode 0600, whole or not at all. */
  async write(file: HomeFile, text: string): Promise<void> {
    await makeFolder(this.folder, 0o700)
    const path = this.path(file)
    const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`
    const handle = await open(temporary, 'wx', 0o600)
    try {
      await handle.writeFile(text)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(temporary, path)
  }
}
