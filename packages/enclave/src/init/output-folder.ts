import { chown, lstat, mkdir, open, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { MANIFEST_NAME, type ManifestDigest, manifestNameOf } from '@cloister/sealed'
import { unfinishedFolder } from '../instance/layout.ts'

/** Name of the receipt in each output's folder. */
const RECEIPT_NAME = 'receipt.jws'

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
