import { randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import { open, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseStoredProfile, type StoredProfile } from '@cloister/enclave'
import { makeFolder } from '../files/make-folder.ts'
import type { Home } from '../home.ts'

/** Profiles of images, by measurement, in the home folder. Nothing depends on them. */
export class Profiles {
  readonly #folder: string

  constructor({ folder }: Home) {
    this.#folder = join(folder, 'profiles')
  }

  /** What was last measured of an image; undefined where nothing was, or it cannot be read. */
  async find(measurement: string): Promise<StoredProfile | undefined> {
    const stored = parseStoredProfile(await readSmallFile(this.#path(measurement)).catch(() => ''))
    return stored?.measurement === measurement ? stored : undefined
  }

  /** Keeps what was measured, in place of what was before. */
  async write(stored: StoredProfile): Promise<void> {
    await makeFolder(this.#folder, 0o700)
    const path = this.#path(stored.measurement)
    const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`
    try {
      await writeFile(temporary, JSON.stringify(stored), { mode: 0o600, flag: 'wx' })
      await rename(temporary, path)
    } catch (error) {
      await rm(temporary, { force: true }).catch(() => {})
      throw error
    }
  }

  #path(measurement: string): string {
    return join(this.#folder, `${measurement}.json`)
  }
}

const MOST_BYTES = 64 * 1024

/** A pipe in place of a file is not waited for, and what is too long is not read. */
async function readSmallFile(path: string): Promise<string> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  try {
    const stats = await file.stat()
    return stats.isFile() && stats.size <= MOST_BYTES ? await file.readFile('utf8') : ''
  } finally {
    await file.close()
  }
}
