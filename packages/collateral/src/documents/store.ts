import { randomBytes } from 'node:crypto'
import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { type DocumentName, keyOf } from './name.ts'
import type { RawDocument } from './raw-document.ts'

/** A document in a store. Nothing in it is verified. */
export interface StoredDocument extends RawDocument {
  readonly fetchedAt: Date
  /** The upstream's name. */
  readonly from: string
}

const ENDING = '.document'

/**
 * Documents in a folder, a file each: a line of JSON that says what it is, then the bytes as they were
 * sent. What is read is verified anew each time; who can write here can only deny service.
 */
export class DocumentStore {
  readonly #folder: string

  /** @param folder - Made where absent. */
  constructor(folder: string) {
    this.#folder = folder
  }

  /** What is kept under a name; `undefined` when nothing, or nothing that can be read, is. */
  async get(name: DocumentName): Promise<StoredDocument | undefined> {
    const key = keyOf(name)
    const found = await this.#read(`${key}${ENDING}`)
    return found !== undefined && keyOf(found.name) === key ? found : undefined
  }

  /** Keeps a document: whole or not at all, and on the disk before this returns. */
  async put({ name, body, chain, fetchedAt, from }: StoredDocument): Promise<void> {
    const head = JSON.stringify({ name, from, fetchedAt: fetchedAt.toISOString(), chain })
    const bytes = Buffer.concat([Buffer.from(`${head}\n`), body])
    await writeWhole(this.#folder, `${keyOf(name)}${ENDING}`, bytes)
  }

  /** Forgets a document. */
  async delete(name: DocumentName): Promise<void> {
    await rm(join(this.#folder, `${keyOf(name)}${ENDING}`), { force: true })
  }

  /** Every document that is kept and can be read. */
  async *list(): AsyncGenerator<StoredDocument> {
    for (const file of await filesIn(this.#folder, ENDING)) {
      const found = await this.#read(file)
      if (found !== undefined) yield found
    }
  }

  async #read(file: string): Promise<StoredDocument | undefined> {
    try {
      const bytes = await readFile(join(this.#folder, file))
      const end = bytes.indexOf(0x0a)
      const head: Omit<StoredDocument, 'body' | 'fetchedAt'> & { readonly fetchedAt: string } =
        JSON.parse(bytes.toString('utf8', 0, end))
      const body = new Uint8Array(bytes.subarray(end + 1))
      return { ...head, body, fetchedAt: new Date(head.fetchedAt) }
    } catch {
      return undefined
    }
  }
}

/** Names of a folder's files of one ending, in their order; none where there is no folder. */
export async function filesIn(folder: string, ending: string): Promise<readonly string[]> {
  try {
    return (await readdir(folder)).filter(file => file.endsWith(ending)).sort()
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return []
    throw error
  }
}

/** Writes a file of a folder that is made where absent: whole or not at all, there after a crash. */
export async function writeWhole(
  folder: string,
  file: string,
  bytes: Uint8Array | string,
  mode = 0o644,
): Promise<void> {
  await mkdir(folder, { recursive: true })
  const path = join(folder, file)
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`
  try {
    const handle = await open(temporary, 'wx', mode)
    try {
      await handle.writeFile(bytes)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
}
