import { type FileHandle, open, rename, rm } from 'node:fs/promises'
import type { Dek } from './dek.ts'
import { syncFolder, temporaryName, writeFully } from './files.ts'
import {
  encodeSealedHeader,
  type FileId,
  type FixedPart,
  parseSealedHeader,
  type Sha256,
  type Slot,
} from './header.ts'
import { PayloadEncrypter, TAG_LENGTH } from './payload.ts'

const WRITE_SIZE = 1 << 20

/** What a manifest records about a file that has been written. */
export interface SealedFileSummary {
  readonly fileId: FileId
  readonly fixedDigest: Sha256
  /** Length of the whole file in bytes. */
  readonly length: number
  /** Tag of the payload's last segment. */
  readonly lastTag: Uint8Array
}

/** Writes one sealed file. Await each call before the next. */
export interface SealedFileWriter {
  /** SHA-256 of the fixed part. */
  readonly fixedDigest: Sha256
  /** Encrypts and appends plaintext. After a failure only {@link abort} is useful. */
  write(chunk: Uint8Array): Promise<void>
  /** Makes the file durable and gives it its name, replacing any file of that name. */
  close(): Promise<SealedFileSummary>
  /** Removes what was written. Does nothing after {@link close}. */
  abort(): Promise<void>
}

class FileWriter implements SealedFileWriter {
  readonly fixedDigest: Sha256
  readonly #path: string
  readonly #temporary: string
  readonly #handle: FileHandle
  readonly #fileId: FileId
  readonly #encrypter: PayloadEncrypter
  #position = 0
  #state: 'open' | 'busy' | 'failed' | 'closed' = 'open'

  constructor(options: {
    readonly path: string
    readonly temporary: string
    readonly handle: FileHandle
    readonly fixed: FixedPart
    readonly fixedDigest: Sha256
    readonly encrypter: PayloadEncrypter
  }) {
    this.#path = options.path
    this.#temporary = options.temporary
    this.#handle = options.handle
    this.#fileId = options.fixed.fileId
    this.fixedDigest = options.fixedDigest
    this.#encrypter = options.encrypter
  }

  async append(bytes: Uint8Array): Promise<void> {
    await writeFully(this.#handle, this.#position, bytes)
    this.#position += bytes.length
  }

  async write(chunk: Uint8Array): Promise<void> {
    this.#begin()
    for (let at = 0; at < chunk.length; at += WRITE_SIZE) {
      const segments = this.#encrypter.push(chunk.subarray(at, at + WRITE_SIZE))
      if (segments.length > 0) await this.append(Buffer.concat(segments))
    }
    this.#state = 'open'
  }

  async close(): Promise<SealedFileSummary> {
    this.#begin()
    const last = this.#encrypter.final()
    await this.append(last)
    await this.#handle.sync()
    await this.#handle.close()
    await rename(this.#temporary, this.#path)
    this.#state = 'closed'
    await syncFolder(this.#path)
    return {
      fileId: this.#fileId,
      fixedDigest: this.fixedDigest,
      length: this.#position,
      lastTag: last.slice(-TAG_LENGTH),
    }
  }

  async abort(): Promise<void> {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    await this.#handle.close()
    await rm(this.#temporary, { force: true })
  }

  // A call that throws leaves the state `busy` or `failed`: no later call can complete the file.
  #begin(): void {
    if (this.#state !== 'open') {
      if (this.#state === 'busy') this.#state = 'failed'
      throw new Error('the writer is closed, has failed, or was called without awaiting')
    }
    this.#state = 'busy'
  }
}

/**
 * Begins a sealed file. The bytes go to a hidden temporary file in the same folder; nothing exists
 * under `path` before {@link SealedFileWriter.close}.
 */
export async function createSealedFile(options: {
  readonly path: string
  readonly fixed: FixedPart
  readonly dek: Dek
  readonly slots: readonly Slot[]
}): Promise<SealedFileWriter> {
  const { path, fixed, dek, slots } = options
  const header = encodeSealedHeader({ fixed, slots, dek })
  const { fixedBytes, fixedDigest } = parseSealedHeader(header)
  const encrypter = new PayloadEncrypter({
    dek,
    associatedData: fixedBytes,
    segmentSize: fixed.segmentSize,
  })
  const temporary = temporaryName(path)
  const handle = await open(temporary, 'wx', 0o600)
  const writer = new FileWriter({ path, temporary, handle, fixed, fixedDigest, encrypter })
  try {
    await writer.append(header)
    await writer.append(encrypter.header)
  } catch (error) {
    await writer.abort()
    throw error
  }
  return writer
}
