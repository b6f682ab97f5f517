import { randomBytes } from 'node:crypto'
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseStoredProfile, type StoredProfile } from '@cloister/enclave'
import type { Home } from '../home.ts'

/** Profiles of images, by measurement, in the home folder. Nothing depends on them. */
export class Profiles {
  readonly #folder: string

  constructor({ folder }: Home) {
    this.#folder = join(folder, 'profiles')
  }

  /** What was last measured of an image; undefined where nothing was, or it cannot be read. */
  async find(measurement: string): Promise<StoredProfile | undefined> {
    const json = await readFile(this.#path(measurement), 'utf8').catch(() => '')
    return parseStoredProfile(json)
  }

  /** Keeps what was measured, in place of what was before. */
  async write(stored: StoredProfile): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 })
    const path = this.#path(stored.measurement)
    const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`
    await writeFile(temporary, JSON.stringify(stored), { mode: 0o600, flag: 'wx' })
    await rename(temporary, path)
  }

  #path(measurement: string): string {
    return join(this.#folder, `${measurement}.json`)
  }
}
