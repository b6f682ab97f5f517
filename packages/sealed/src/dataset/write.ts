import { open, rename, rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { Dek } from '../dek.ts'
import { syncFolder, temporaryName, writeFully } from '../files.ts'
import {
  type DatasetId,
  encodeSealedHeader,
  type FixedPart,
  fixedPart,
  parseSealedHeader,
  type Sha256,
  type Slot,
} from '../header.ts'
import { createSealedFile, type SealedFileWriter } from '../writer.ts'
import { DatasetError, mismatch, withStorage } from './errors.ts'
import { type DatasetHead, headOf } from './head.ts'
import {
  MANIFEST_NAME,
  MAX_PARTS,
  type Manifest,
  type ManifestDigest,
  type ManifestPart,
  manifestNameOf,
  partNumber,
} from './manifest.ts'
import type { VerifiedPart } from './open.ts'
import { type SignManifest, signManifest, verifyManifest } from './signature.ts'

/** What a key service needs to wrap the DEK of a part that is about to be written. */
export interface PartContext {
  readonly fixed: FixedPart
  readonly fixedDigest: Sha256
}

/** What {@link DatasetWriter.newPart} needs. */
export interface NewPartOptions {
  readonly mediaType: string
  readonly dek: Dek
  /**
   * The slots, or a function that makes them once the file id and the fixed digest are known. The
   * function is called again if its slots made the header longer, which changes the digest.
   */
  readonly slots:
    | readonly Slot[]
    | ((context: PartContext) => Promise<readonly Slot[]> | readonly Slot[])
  readonly segmentSize?: number
  /** Where the file stands among the dataset's files, where that matters; see `isPartPath`. */
  readonly path?: string
}

/** Writes one part. Await each call before the next; after a failure abort the dataset's writer. */
export interface DatasetPartWriter {
  /** File name in the dataset's folder; contains the file id. */
  readonly name: string
  /** Part number, from 0. */
  readonly number: number
  readonly fixedDigest: Sha256
  /** Encrypts and appends plaintext. */
  write(chunk: Uint8Array): Promise<void>
  /** Makes the part durable. `rows` is null where rows mean nothing. */
  close(rows: number | null): Promise<ManifestPart>
}

/** What {@link DatasetWriter.commit} needs. */
export interface CommitOptions {
  readonly version: number
  /** Digest of the manifest of the version before, or null for version 1. */
  readonly previous: ManifestDigest | null
  readonly sign: SignManifest
  /** SPKI DER of the key that `sign` signs with. */
  readonly writerKey: Uint8Array
}

/** Writes one version of a dataset into a folder. */
export interface DatasetWriter {
  /** Begins the next part. Several may be open at a time. */
  newPart(options: NewPartOptions): Promise<DatasetPartWriter>
  /**
   * Signs the manifest, verifies it, and puts it in the place of the one before, atomically. If
   * signing or storing fails before that, nothing has changed and it may be called again.
   */
  commit(options: CommitOptions): Promise<DatasetHead>
  /** Removes every part that this writer wrote. Does nothing after {@link commit}. */
  abort(): Promise<void>
}

async function makeSlots(fixed: FixedPart, options: NewPartOptions): Promise<readonly Slot[]> {
  const { dek, slots } = options
  if (typeof slots !== 'function') return slots
  const contextFor = (placeholder: readonly Slot[]) => {
    const header = encodeSealedHeader({ fixed, slots: placeholder, dek })
    return parseSealedHeader(header)
  }
  // The digest covers the header's length, which depends on the slots: begin with the shortest.
  let sample: readonly Slot[] = [
    { kmsId: '-', cmkId: '-', cmkVersion: 0, wrappedDek: new Uint8Array(1) },
  ]
  for (let round = 0; round < 3; round += 1) {
    const { fixedDigest, headerLength } = contextFor(sample)
    const made = await slots({ fixed, fixedDigest })
    if (contextFor(made).headerLength === headerLength) return made
    sample = made
  }
  throw new DatasetError('LIMIT', 'slots: wanted a steady length, seen another each time')
}

async function writeManifest(path: string, jws: string): Promise<void> {
  const temporary = temporaryName(path)
  await withStorage(`writing ${path}`, async () => {
    try {
      const handle = await open(temporary, 'wx', 0o600)
      try {
        await writeFully(handle, 0, Buffer.from(jws, 'latin1'))
        await handle.sync()
      } finally {
        await handle.close()
      }
      await rename(temporary, path)
    } catch (error) {
      await rm(temporary, { force: true })
      throw error
    }
  })
}

class FolderWriter implements DatasetWriter {
  readonly #folder: string
  readonly #datasetId: DatasetId
  readonly #mediaType: string
  // A hole is a part that is not closed yet.
  readonly #parts: (ManifestPart | undefined)[]
  readonly #numbers: Set<number>
  readonly #written: { readonly path: string; readonly writer: SealedFileWriter }[] = []
  readonly #beginning = new Set<Promise<unknown>>()
  #state: 'open' | 'failed' | 'committed' | 'aborted' = 'open'

  constructor(options: DatasetWriterOptions) {
    this.#folder = options.folder
    this.#datasetId = options.datasetId
    this.#mediaType = options.mediaType
    this.#parts = options.keep.map(part => part.entry)
    this.#numbers = new Set(options.keep.map(part => part.number))
  }

  async newPart(options: NewPartOptions): Promise<DatasetPartWriter> {
    this.#demandOpen()
    const index = this.#parts.length
    if (index >= MAX_PARTS) throw mismatch('LIMIT', 'parts', `at most ${MAX_PARTS}`, index + 1)
    this.#parts.push(undefined)
    const place = { index, number: this.#takeNumber(index) }
    const beginning = this.#orFail(() => this.#beginPart(place, options))
    this.#beginning.add(beginning)
    try {
      return await beginning
    } finally {
      this.#beginning.delete(beginning)
    }
  }

  async commit(options: CommitOptions): Promise<DatasetHead> {
    this.#demandOpen()
    const jws = await signManifest(this.#manifest(options), options.sign)
    // A manifest that the named key does not verify must not replace one that can be read.
    const head = headOf(verifyManifest(jws, options.writerKey), options.writerKey)
    this.#demandOpen()
    await this.#publish(jws, head.manifestDigest)
    return head
  }

  async abort(): Promise<void> {
    if (this.#state === 'committed') return
    this.#state = 'aborted'
    // A part that is being begun sees the state, and removes itself.
    await Promise.allSettled(this.#beginning)
    const removed = await Promise.allSettled(
      this.#written.map(({ path, writer }) =>
        withStorage(`removing ${path}`, async () => {
          await writer.abort()
          await rm(path, { force: true })
        }),
      ),
    )
    const failures = removed.flatMap(result => (result.status === 'rejected' ? result.reason : []))
    if (failures.length > 0) {
      const cause = new AggregateError(failures)
      throw mismatch('IO', 'parts that were not removed', 0, failures.length, { cause })
    }
  }

  /** A part's number is its place in the list, unless a part that was kept has that number. */
  #takeNumber(index: number): number {
    let number = index
    while (this.#numbers.has(number)) number += 1
    this.#numbers.add(number)
    return number
  }

  async #beginPart(
    { index, number }: { readonly index: number; readonly number: number },
    options: NewPartOptions,
  ): Promise<DatasetPartWriter> {
    const { mediaType, dek, segmentSize } = options
    const datasetId = this.#datasetId
    const fixed = fixedPart({
      datasetId,
      part: number,
      mediaType,
      ...(segmentSize === undefined ? {} : { segmentSize }),
    })
    const slots = await makeSlots(fixed, options)
    const name = `part-${String(number).padStart(5, '0')}-${fixed.fileId}.sealed`
    const path = join(this.#folder, name)
    const writer = await withStorage(`creating ${path}`, () =>
      createSealedFile({ path, fixed, dek, slots }),
    )
    this.#written.push({ path, writer })
    // The dataset may have been aborted meanwhile.
    if (this.#state !== 'open') await writer.abort()
    this.#demandOpen()
    return this.#partWriter({ name, index, number, path, writer, place: options.path })
  }

  #partWriter(part: {
    readonly name: string
    readonly index: number
    readonly number: number
    readonly path: string
    readonly writer: SealedFileWriter
    readonly place: string | undefined
  }): DatasetPartWriter {
    const { name, index, number, path, writer, place } = part
    return {
      name,
      number,
      fixedDigest: writer.fixedDigest,
      write: chunk => this.#orFail(() => withStorage(`writing ${path}`, () => writer.write(chunk))),
      close: rows =>
        this.#orFail(async () => {
          this.#demandOpen()
          const summary = await withStorage(`writing ${path}`, () => writer.close())
          const entry: ManifestPart = {
            name,
            fileId: summary.fileId,
            fixedDigest: Buffer.from(summary.fixedDigest).toString('hex'),
            length: summary.length,
            lastTag: Buffer.from(summary.lastTag).toString('hex'),
            rows,
            ...(place === undefined ? {} : { path: place }),
            ...(number === index ? {} : { number }),
          }
          this.#parts[index] = entry
          return entry
        }),
    }
  }

  #manifest(options: CommitOptions): Manifest {
    const parts = this.#parts.map((part, number) => {
      if (part === undefined) throw mismatch('WRITER_STATE', `part ${number}`, 'closed', 'open')
      return part
    })
    return {
      datasetId: this.#datasetId,
      version: options.version,
      previous: options.previous,
      mediaType: this.#mediaType,
      parts,
    }
  }

  /** The manifest by its digest first, so that whoever learns of the version can read it. */
  async #publish(jws: string, digest: ManifestDigest): Promise<void> {
    const lasting = join(this.#folder, manifestNameOf(digest))
    await writeManifest(lasting, jws)
    try {
      await writeManifest(join(this.#folder, MANIFEST_NAME), jws)
    } catch (error) {
      await rm(lasting, { force: true })
      throw error
    }
    // From here on readers see the new version: its parts must stay, whatever fails.
    this.#state = 'committed'
    await withStorage(`writing ${lasting}`, () => syncFolder(lasting))
  }

  async #orFail<T>(operation: () => Promise<T>): Promise<T> {
    try {
      return await operation()
    } catch (error) {
      if (this.#state === 'open') this.#state = 'failed'
      throw error
    }
  }

  #demandOpen(): void {
    if (this.#state !== 'open') {
      throw mismatch('WRITER_STATE', 'dataset writer', 'open', this.#state)
    }
  }
}

/** What {@link createDatasetWriter} needs. */
export interface DatasetWriterOptions {
  /** An existing folder; one dataset a folder. */
  readonly folder: string
  readonly datasetId: DatasetId
  /** Media type of the dataset as a whole. */
  readonly mediaType: string
  /**
   * The parts of the version before that the new version keeps. A part's number is sealed into it:
   * those that the manifest gives none are its first ones, in order.
   */
  readonly keep: readonly VerifiedPart[]
}

/**
 * Begins a version of a dataset. Readers see nothing of it before {@link DatasetWriter.commit}, and
 * it never overwrites a part of an earlier version.
 * @throws DatasetError `PART_FOREIGN` for a kept part of another dataset, folder or place
 */
export function createDatasetWriter(options: DatasetWriterOptions): DatasetWriter {
  for (const [index, part] of options.keep.entries()) {
    if (partNumber(part.entry, index) !== part.number) {
      throw mismatch('PART_FOREIGN', 'number of a kept part', index, part.number)
    }
    if (part.datasetId !== options.datasetId) {
      throw mismatch('PART_FOREIGN', 'dataset of a kept part', options.datasetId, part.datasetId)
    }
    const wanted = resolve(options.folder, part.entry.name)
    if (resolve(part.path) !== wanted) {
      throw mismatch('PART_FOREIGN', 'path of a kept part', wanted, part.path)
    }
  }
  return new FolderWriter(options)
}
