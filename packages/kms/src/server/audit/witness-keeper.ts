import { mkdir, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { replaceFile } from '../../durable-files.ts'
import { AuditError } from './errors.ts'

/** Where a witness's checkpoints are kept. */
export interface WitnessKeeper {
  readonly path: string
  /** The newest checkpoint, a signed note. */
  newest(): Promise<string | undefined>
  /** Whether one of more rows is kept, by another replica. */
  newerThan(size: number): Promise<boolean>
  /** Keeps one; resolves when it will be there after a crash. */
  keep(note: string, size: number): Promise<void>
  /** Puts whatever is kept out of the way, where people find it. */
  putAside(): Promise<void>
}

/**
 * Opens a file; or for replicas a folder, made where it is not there.
 * @throws AuditError WITNESS where one stands in the other's place
 */
export async function openKeeper(path: string, isShared: boolean): Promise<WitnessKeeper> {
  const found = await stat(path).catch(ignoreAbsent)
  if (found !== undefined && found.isDirectory() !== isShared) {
    const wanted = isShared ? 'a folder, which replicas share' : 'a file'
    throw new AuditError('WITNESS', `${path}: wanted ${wanted}`)
  }
  if (!isShared) return new FileKeeper(path)
  if (found === undefined) await mkdir(path, { recursive: true, mode: 0o700 })
  return new FolderKeeper(path)
}

/** One file, of one key service alone. */
class FileKeeper implements WitnessKeeper {
  readonly path: string

  constructor(path: string) {
    this.path = path
  }

  async newest(): Promise<string | undefined> {
    return await textOf(this.path)
  }

  async newerThan(): Promise<boolean> {
    return false
  }

  async keep(note: string): Promise<void> {
    await replaceFile(this.path, note)
  }

  async putAside(): Promise<void> {
    await rename(this.path, `${this.path}.before-restore-${Date.now()}`).catch(ignoreAbsent)
  }
}

const NAME = /^\d{16}$/

/**
 * A folder, which several replicas share: files named by the size of the log. The largest counts, so
 * that of two which write at once neither can make the other's be forgotten.
 */
class FolderKeeper implements WitnessKeeper {
  readonly path: string

  constructor(path: string) {
    this.path = path
  }

  async newest(): Promise<string | undefined> {
    for (;;) {
      const name = (await this.#names()).at(-1)
      if (name === undefined) return undefined
      const text = await textOf(join(this.path, name))
      // Another replica kept a larger one meanwhile, and removed this.
      if (text !== undefined) return text
    }
  }

  async newerThan(size: number): Promise<boolean> {
    return Number((await this.#names()).at(-1) ?? 0) > size
  }

  async keep(note: string, size: number): Promise<void> {
    const name = String(size).padStart(16, '0')
    const before = await this.#names()
    if (!before.includes(name)) await replaceFile(join(this.path, name), note)
    for (const smaller of before.filter(other => other < name)) {
      await rm(join(this.path, smaller), { force: true })
    }
  }

  async putAside(): Promise<void> {
    const aside = join(this.path, `before-restore-${Date.now()}`)
    await mkdir(aside, { mode: 0o700 })
    for (const name of await this.#names()) await rename(join(this.path, name), join(aside, name))
  }

  async #names(): Promise<readonly string[]> {
    return (await readdir(this.path)).filter(name => NAME.test(name)).sort()
  }
}

async function textOf(path: string): Promise<string | undefined> {
  return await readFile(path, 'utf8').catch(ignoreAbsent)
}

function ignoreAbsent(error: unknown): undefined {
  if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
  throw error
}
