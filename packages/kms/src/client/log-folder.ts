import { mkdir, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { Type } from '@sinclair/typebox'
import { replaceFile } from '../durable-files.ts'
import { parseAs } from '../protocol/schema.ts'
import type { LogMemory, SeenLog } from './log-history.ts'

const seenSchema = Type.Object(
  { logKey: Type.String(), checkpoint: Type.String() },
  { additionalProperties: false },
)

const NAME = /^\d{16}\.json$/

/** File that tells which restore was let pass last. */
const ACCEPTED = 'restored-at'

/**
 * Remembers checkpoints in a folder: in a folder for each key service one file, named by the log's
 * size. The largest counts, so that of two programs which write at once neither can make the other
 * forget.
 */
export class LogFolder implements LogMemory {
  readonly #folder: string

  /** @param folder - Made, with mode 0700, when the first checkpoint is kept. */
  constructor(folder: string) {
    this.#folder = folder
  }

  /** The largest that was kept. @throws KmsError MALFORMED when its file is damaged */
  async newest(kmsId: string): Promise<SeenLog | undefined> {
    for (;;) {
      const name = (await this.#names(kmsId)).at(-1)
      if (name === undefined) return undefined
      const path = join(this.#folder, kmsId, name)
      const text = await textOf(path)
      // Another program kept a larger one meanwhile, and removed this.
      if (text === undefined) continue
      return parseAs(`checkpoint in ${path}`, seenSchema, jsonFrom(text))
    }
  }

  /** Keeps one, whole or not at all, and removes smaller ones. */
  async keep(kmsId: string, seen: SeenLog, size: number): Promise<void> {
    const name = `${String(size).padStart(16, '0')}.json`
    const before = await this.#names(kmsId)
    if (before.includes(name)) return
    const folder = join(this.#folder, kmsId)
    await mkdir(folder, { recursive: true, mode: 0o700 })
    const { logKey, checkpoint } = seen
    await replaceFile(join(folder, name), `${JSON.stringify({ logKey, checkpoint })}\n`)
    for (const smaller of before.filter(other => other < name)) {
      await rm(join(folder, smaller), { force: true })
    }
  }

  /**
   * The instant from which on a restore of the key service's database would be news: when the newest
   * was kept, and after the last restore that was let pass.
   */
  async newsFrom(kmsId: string): Promise<{ readonly keptAt: Date; readonly acceptedAt: Date }> {
    const folder = join(this.#folder, kmsId)
    const name = (await this.#names(kmsId)).at(-1)
    const keptAt = name === undefined ? new Date(0) : (await stat(join(folder, name))).mtime
    return { keptAt, acceptedAt: new Date((await textOf(join(folder, ACCEPTED))) ?? 0) }
  }

  /** Puts what was kept of a key service out of the way, where people find it, for a restore. */
  async putAside(kmsId: string, restoredAt: string): Promise<void> {
    const folder = join(this.#folder, kmsId)
    await rename(folder, `${folder}.before-${restoredAt.replaceAll(/[^0-9TZ]/g, '')}`)
    await mkdir(folder, { mode: 0o700 })
    await replaceFile(join(folder, ACCEPTED), restoredAt)
  }

  async #names(kmsId: string): Promise<readonly string[]> {
    try {
      const names = await readdir(join(this.#folder, kmsId))
      return names.filter(name => NAME.test(name)).sort()
    } catch (error) {
      if (isAbsent(error)) return []
      throw error
    }
  }
}

async function textOf(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if (isAbsent(error)) return undefined
    throw error
  }
}

function isAbsent(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT'
}

/** What is no JSON fits no schema, and is refused with the file's name. */
function jsonFrom(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
