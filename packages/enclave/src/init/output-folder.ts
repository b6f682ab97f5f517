import { chown, lstat, mkdir, open, readdir, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { MANIFEST_NAME, type ManifestDigest, manifestNameOf } from '@cloister/sealed'
import { unfinishedFolder } from '../instance/layout.ts'

/** Name of the receipt in each output's folder. */
const RECEIPT_NAME = 'receipt.jws'

/** What may come to lie in a dataset's folder meanwhile: also another job's, or its owner's. */
const OF_DATASETS = [
  /^part-\d{5,}-[0-9a-f]{32}\.sealed$/,
  /^manifest(-[0-9a-f]{64})?\.jws$/,
  /^receipt\.jws$/,
  /^\.unfinished-[0-9a-f]{16}$/,
  /^\..*\.tmp$/,
]

/**
 * An output dataset's folder, which the host holds. What is not whole is below a hidden folder of
 * this instance's name, so that whoever comes after a killed instance can tell what to remove. Parts
 * get their names once all are written; a reader finds them when the dataset's head has moved.
 */
export class OutputFolder {
  readonly folder: string
  /** Where parts are written. */
  readonly unfinished: string
  readonly #placed: string[] = []
  /** What lay there before the program began, where it can write there. */
  #before: ReadonlySet<string> | undefined

  /** @param instanceName - 16 hexadecimal digits. */
  constructor(folder: string, instanceName: string) {
    this.folder = folder
    this.unfinished = unfinishedFolder(folder, instanceName)
  }

  /** Makes the place where parts are written. */
  async make(): Promise<void> {
    await mkdir(this.unfinished, { mode: 0o700 })
    await ownAsFolder(this.unfinished)
  }

  /** Takes note of what is there, before a program that can write there begins. */
  async watch(): Promise<void> {
    this.#before = new Set(await readdir(this.folder))
  }

  /**
   * Removes what the program left beside the place where parts are written: it is not sealed, and lies
   * with the host.
   * @returns the names of it
   */
  async removePlain(): Promise<readonly string[]> {
    const before = this.#before
    if (before === undefined) return []
    const plain = (await readdir(this.folder)).filter(
      name => !before.has(name) && !OF_DATASETS.some(pattern => pattern.test(name)),
    )
    for (const name of plain.sort())
      await rm(join(this.folder, name), { recursive: true, force: true })
    return plain
  }

  /**
   * Gives parts their names, and the signed manifest the name that whoever knows its digest looks
   * for. Readers of the version before are not disturbed.
   */
  async place(parts: readonly string[], jws: string, digest: ManifestDigest): Promise<void> {
    for (const name of parts) {
      const path = join(this.unfinished, name)
      await ownAsFolder(path, this.folder)
      this.#placed.push(name)
      await rename(path, join(this.folder, name))
    }
    const lasting = manifestNameOf(digest)
    this.#placed.push(lasting)
    await this.#writeDurably(lasting, jws)
    await syncFolder(this.folder)
  }

  /** Makes the new version the one that readers find without a digest, its receipt beside it. */
  async publish(jws: string, receipt: string): Promise<void> {
    await this.#writeDurably(RECEIPT_NAME, receipt)
    await this.#writeDurably(MANIFEST_NAME, jws)
    await syncFolder(this.folder)
    await this.removeUnfinished()
  }

  /** Removes whatever a failed job left. The version before stays. */
  async discard(): Promise<void> {
    for (const name of this.#placed) await rm(join(this.folder, name), { force: true })
    await this.removePlain()
    await this.removeUnfinished()
  }

  /** Removes what is not whole. */
  async removeUnfinished(): Promise<void> {
    await rm(this.unfinished, { recursive: true, force: true })
  }

  /** Writes a file that is whole or not there, and belongs to whom its folder belongs. */
  async #writeDurably(name: string, text: string): Promise<void> {
    const temporary = join(this.unfinished, name)
    await rm(temporary, { force: true })
    const file = await open(temporary, 'wx', 0o600)
    try {
      await file.writeFile(text, 'latin1')
      await file.sync()
    } finally {
      await file.close()
    }
    await ownAsFolder(temporary, this.folder)
    await rename(temporary, join(this.folder, name))
  }
}

async function ownAsFolder(path: string, folder = dirname(path)): Promise<void> {
  const { uid, gid } = await lstat(folder)
  if (uid !== process.getuid?.()) await chown(path, uid, gid)
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
