import { createHash, hash } from 'node:crypto'

const BLOCK = 4096
const DIGEST = 32
const NOTHING = new Uint8Array(0)

/** The tree of hashes above a file's blocks, a level at a time; each holds one unfinished block. */
class Level {
  readonly #block = new Uint8Array(BLOCK)
  #filled = 0
  #parent: Level | undefined
  /** Digest of the first finished block: the root, when no other followed. */
  #first: Uint8Array | undefined

  add(bytes: Uint8Array): void {
    let rest = bytes
    while (rest.length > 0) {
      // A full block is finished only when something follows it: it may be the last.
      if (this.#filled === BLOCK) this.#finishBlock()
      if (this.#filled === 0 && rest.length > BLOCK) {
        this.#emit(hash('sha256', rest.subarray(0, BLOCK), 'buffer'))
        rest = rest.subarray(BLOCK)
        continue
      }
      const piece = rest.subarray(0, BLOCK - this.#filled)
      this.#block.set(piece, this.#filled)
      this.#filled += piece.length
      rest = rest.subarray(piece.length)
    }
  }

  root(): Uint8Array {
    if (this.#filled > 0) this.#finishBlock()
    return this.#parent?.root() ?? this.#first ?? new Uint8Array(DIGEST)
  }

  #finishBlock(): void {
    this.#block.fill(0, this.#filled)
    this.#filled = 0
    this.#emit(hash('sha256', this.#block, 'buffer'))
  }

  #emit(digest: Uint8Array): void {
    if (this.#first === undefined) {
      this.#first = digest
      return
    }
    if (this.#parent === undefined) {
      this.#parent = new Level()
      this.#parent.add(this.#first)
    }
    this.#parent.add(digest)
  }
}

/**
 * The digest under which Linux would enforce a file with fs-verity: SHA-256, blocks of 4096 bytes,
 * no salt.
 * @see Linux, Documentation/filesystems/fsverity.rst: Merkle tree, fs-verity descriptor
 */
export class FsVerityHasher {
  readonly #leaves = new Level()
  #size = 0

  /** Takes the file's next bytes. */
  update(bytes: Uint8Array): void {
    this.#size += bytes.length
    this.#leaves.add(bytes)
  }

  /** The file digest, 64 lower-case hexadecimal digits. */
  digest(): string {
    const descriptor = new Uint8Array(256)
    const view = new DataView(descriptor.buffer)
    // Version 1, SHA-256, log2 of the block size; no salt, no signature.
    descriptor.set([1, 1, 12, 0])
    view.setBigUint64(8, BigInt(this.#size), true)
    descriptor.set(this.#size === 0 ? NOTHING : this.#leaves.root(), 16)
    return createHash('sha256').update(descriptor).digest('hex')
  }
}
