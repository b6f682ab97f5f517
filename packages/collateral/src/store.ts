import { randomBytes } from 'node:crypto'
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { type Collateral, collateralJson, readCollateralJson } from '@cloister/attestation'

/** Where collateral is kept between runs: a file a platform. */
export class CollateralStore {
  readonly #folder: string

  /** @param folder - Made where absent. What is in it is verified anew each time it is read. */
  constructor(folder: string) {
    this.#folder = folder
  }

  /** What is kept under a name; `undefined` when nothing, or nothing that can be read, is. */
  async get(name: string): Promise<Collateral | undefined> {
    try {
      return readCollateralJson(JSON.parse(await readFile(this.#path(name), 'utf8')))
    } catch {
      return undefined
    }
  }

  /** Keeps collateral: whole or not at all, and on the disk before this returns. */
  async put(name: string, collateral: Collateral): Promise<void> {
    await mkdir(this.#folder, { recursive: true })
    const path = this.#path(name)
    const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`
    try {
      const file = await open(temporary, 'wx', 0o644)
      try {
        await file.writeFile(JSON.stringify(collateralJson(collateral)))
        await file.sync()
      } finally {
        await file.close()
      }
      await rename(temporary, path)
    } catch (error) {
      await rm(temporary, { force: true })
      throw error
    }
  }

  #path(name: string): string {
    return join(this.#folder, `${name}.json`)
  }
}
