import { createHash, type Hash, randomBytes } from 'node:crypto'
import { chmodSync, renameSync, writeFileSync } from 'node:fs'
import { type FileHandle, open, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { FsVerityHasher } from '../image/fs-verity.ts'

/** Both digests of what was written. */
export interface BlobDigest {
  readonly size: number
  /** Lower-case hexadecimal. */
  readonly sha256: string
  /** Lower-case hexadecimal. */
  readonly fsVerity: string
}

const SPILL = 4 * 1024 * 1024

/** Digests a file as its bytes come. */
export class BlobHasher {
  readonly #sha256: Hash = createHash('sha256')
  readonly #fsVerity = new FsVerityHasher()
  #size = 0

  /** Takes the next bytes. */
  update(bytes: Uint8Array): void {
    this.#size += bytes.length
    this.#sha256.update(bytes)
    this.#fsVerity.update(bytes)
  }

  /** What came, once all has. */
  digest(): BlobDigest {
    return {
      size: this.#size,
      sha256: this.#sha256.digest('hex'),
      fsVerity: this.#fsVerity.digest(),
    }
  }
}

/** A file on its way into the store: small ones stay in memory until their name is known. */
export class BlobWriter {
  readonly #folder: string
  readonly #hasher = new BlobHasher()
  #held: Uint8Array[] = []
  #heldBytes = 0
  #spilled: { readonly path: string; readonly file: FileHandle } | undefined

  /** @param folder - Where a file that is not finished may lie; of the store's file system. */
  constructor(folder: string) {
    this.#folder = folder
  }

  /** Takes the next bytes, which must not change afterwards. */
  async write(bytes: Uint8Array): Promise<void> {
    this.#hasher.update(bytes)
    this.#held.push(bytes)
    this.#heldBytes += bytes.length
    if (this.#heldBytes > SPILL) await this.#spill()
  }

  /**
   * Ends the file and gives it its name.
   * @param placeFor - Its path by its digest; undefined where it is there already.
   */
  async finish(placeFor: (digest: BlobDigest) => Promise<string | undefined>): Promise<BlobDigest> {
    const digest = this.#hasher.digest()
    const place = await placeFor(digest)
    if (place === undefined) {
      await this.abandon()
      return digest
    }
    const spilled = this.#spilled
    if (spilled === undefined) {
      this.#writeHeld(place)
      return digest
    }
    await this.#spill()
    await spilled.file.chmod(0o444)
    await spilled.file.close()
    this.#spilled = undefined
    await rename(spilled.path, place)
    return digest
  }

  /** In one go: the steps between threads would take longer than writing a small file does. */
  #writeHeld(place: string): void {
    const path = join(this.#folder, randomBytes(12).toString('hex'))
    writeFileSync(path, Buffer.concat(this.#held), { flag: 'wx', mode: 0o400 })
    chmodSync(path, 0o444)
    renameSync(path, place)
  }

  /** Leaves nothing behind. */
  async abandon(): Promise<void> {
    const spilled = this.#spilled
    this.#spilled = undefined
    if (spilled === undefined) return
    await spilled.file.close()
    await rm(spilled.path, { force: true })
  }

  async #spill(): Promise<void> {
    if (this.#spilled === undefined) {
      const path = join(this.#folder, randomBytes(12).toString('hex'))
      this.#spilled = { path, file: await open(path, 'wx', 0o600) }
    }
    const { file } = this.#spilled
    const held = this.#held
    this.#held = []
    this.#heldBytes = 0
    for (const piece of held) await file.writeFile(piece)
  }
}
