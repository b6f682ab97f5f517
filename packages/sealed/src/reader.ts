import { type FileHandle, open } from 'node:fs/promises'
import type { Dek } from './dek.ts'
import { SealedFormatError } from './errors.ts'
import { readExactly, readHeader, readInto } from './files.ts'
import { type FixedPart, type VerifiedHeader, verifyHeader } from './header.ts'
import {
  PAYLOAD_HEADER_LENGTH,
  PayloadDecrypter,
  type PayloadLayout,
  payloadLayout,
  type SegmentCipher,
  segmentAt,
  segmentCipherOf,
  segmentCiphertextRange,
  segmentPlaintextStart,
  TAG_LENGTH,
} from './payload.ts'
import { openSegments, type Run, runCiphertextRange, runsBetween } from './runs.ts'

/** An open sealed file whose header and last segment are authentic, and so its length too. */
export interface SealedFileReader {
  readonly fixed: FixedPart
  readonly header: VerifiedHeader
  /** Length of the plaintext in bytes. */
  readonly plaintextSize: number
  /** Length of the whole file in bytes. */
  readonly length: number
  /** Tag of the payload's last segment, as it was when that segment was authenticated. */
  readonly lastTag: Uint8Array
  /** Yields the plaintext, each piece authenticated; throws where the payload is not authentic. */
  stream(): AsyncGenerator<Uint8Array>
  /** Returns plaintext bytes `start` up to, not including, `end`, or throws `RANGE`. */
  readRange(start: number, end: number): Promise<Uint8Array>
  /** Segments that hold plaintext bytes `start` up to, not including, `end`, or throws `RANGE`. */
  segmentsOf(start: number, end: number): SegmentRange
  /** Plaintext bytes of one segment, as a half-open range, or throws `RANGE`. */
  plaintextOf(segment: number): SegmentRange
  /** Closes the file. */
  close(): Promise<void>
}

/** A half-open range of segment numbers or of bytes. */
export interface SegmentRange {
  readonly start: number
  readonly end: number
}

/** What a worker needs to open segments of a file; of this package only. */
export interface SegmentSource {
  /** The file's descriptor. Workers share it with the process. */
  readonly descriptor: number
  /** Where the payload begins in the file. */
  readonly payloadStart: number
  readonly cipher: SegmentCipher
}

/** Returns a reader's source of segments; of this package only. */
export let segmentSourceOf: (reader: SealedFileReader) => SegmentSource

class FileReader implements SealedFileReader {
  static {
    segmentSourceOf = reader => {
      if (!(reader instanceof FileReader)) throw new TypeError('not a reader of this package')
      return {
        descriptor: reader.#handle.fd,
        payloadStart: reader.header.headerLength,
        cipher: segmentCipherOf(reader.#decrypter),
      }
    }
  }

  readonly header: VerifiedHeader
  readonly fixed: FixedPart
  readonly plaintextSize: number
  readonly length: number
  readonly lastTag: Uint8Array
  readonly #handle: FileHandle
  readonly #layout: PayloadLayout
  readonly #decrypter: PayloadDecrypter

  constructor(options: {
    readonly handle: FileHandle
    readonly header: VerifiedHeader
    readonly layout: PayloadLayout
    readonly decrypter: PayloadDecrypter
    readonly lastTag: Uint8Array
  }) {
    this.#handle = options.handle
    this.#layout = options.layout
    this.#decrypter = options.decrypter
    this.header = options.header
    this.fixed = options.header.fixed
    this.plaintextSize = options.layout.plaintextLength
    this.length = options.header.headerLength + options.layout.ciphertextLength
    this.lastTag = options.lastTag
  }

  async *stream(): AsyncGenerator<Uint8Array> {
    for await (const plaintext of this.#open(0, this.#layout.segmentCount)) {
      if (plaintext.length > 0) yield plaintext
    }
  }

  segmentsOf(start: number, end: number): SegmentRange {
    if (
      !Number.isSafeInteger(start) ||
      !Number.isSafeInteger(end) ||
      start < 0 ||
      start > end ||
      end > this.plaintextSize
    ) {
      throw new SealedFormatError('RANGE', `${start}..${end} is not within the plaintext`)
    }
    if (start === end) return { start: 0, end: 0 }
    const { segmentSize } = this.#layout
    return { start: segmentAt(segmentSize, start), end: segmentAt(segmentSize, end - 1) + 1 }
  }

  plaintextOf(segment: number): SegmentRange {
    const { start, end } = segmentCiphertextRange(this.#layout, segment)
    const begin = segmentPlaintextStart(this.#layout.segmentSize, segment)
    return { start: begin, end: begin + (end - start - TAG_LENGTH) }
  }

  async readRange(start: number, end: number): Promise<Uint8Array> {
    const segments = this.segmentsOf(start, end)
    const out = new Uint8Array(end - start)
    const { segmentSize } = this.#layout
    let begin = segmentPlaintextStart(segmentSize, segments.start)
    for await (const plaintext of this.#open(segments.start, segments.end)) {
      const from = Math.max(start, begin)
      out.set(plaintext.subarray(from - begin, end - begin), from - start)
      begin += plaintext.length
    }
    return out
  }

  async close(): Promise<void> {
    await this.#handle.close()
  }

  /** Opens segments in order; reads the next run while it opens one, into two buffers in turn. */
  async *#open(first: number, end: number): AsyncGenerator<Uint8Array> {
    const runs = runsBetween(first, end, this.#layout.segmentSize)
    let spare = new Uint8Array(0)
    let reading = this.#readRun(runs.next().value, spare)
    try {
      for (;;) {
        const read = await reading
        if (read === undefined) return
        reading = this.#readRun(runs.next().value, spare)
        // A failure is reported when its turn comes.
        reading.catch(() => undefined)
        yield* openSegments(segmentCipherOf(this.#decrypter), read.run, read.bytes)
        spare = read.buffer
      }
    } finally {
      // Nothing reads the file any more when a caller goes on.
      await reading.catch(() => undefined)
    }
  }

  async #readRun(run: Run | undefined, spare: Uint8Array<ArrayBuffer>) {
    if (run === undefined) return undefined
    const { start, end } = runCiphertextRange(this.#layout, run)
    const buffer = spare.length < end - start ? new Uint8Array(end - start) : spare
    const bytes = buffer.subarray(0, end - start)
    await readInto(this.#handle, this.header.headerLength + start, bytes)
    return { run, bytes, buffer }
  }
}

/**
 * Makes a reader of an open file, which the reader closes; checks the header's MAC and the last
 * segment before returning. On failure the file stays open.
 */
export async function readerOf(handle: FileHandle, dek: Dek): Promise<SealedFileReader> {
  const header = verifyHeader(await readHeader(handle), dek)
  const { size } = await handle.stat()
  const layout = payloadLayout(size - header.headerLength, header.fixed.segmentSize)
  const decrypter = new PayloadDecrypter({
    dek,
    associatedData: header.fixedBytes,
    layout,
    header: await readExactly(handle, header.headerLength, PAYLOAD_HEADER_LENGTH),
  })
  // The last segment's nonce says that it is the last: a cut file fails here.
  const index = layout.segmentCount - 1
  const { start, end } = segmentCiphertextRange(layout, index)
  const last = await readExactly(handle, header.headerLength + start, end - start)
  decrypter.decrypt(index, last)
  return new FileReader({ handle, header, layout, decrypter, lastTag: last.slice(-TAG_LENGTH) })
}

/** Opens a sealed file; checks its header's MAC and its last segment before returning. */
export async function openSealedFile(path: string, dek: Dek): Promise<SealedFileReader> {
  const handle = await open(path, 'r')
  try {
    return await readerOf(handle, dek)
  } catch (error) {
    await handle.close()
    throw error
  }
}

/**
 * Computes the plaintext size from the header and the file's length, without a key. It is
 * **unauthenticated**: a cut file gives a smaller number. {@link SealedFileReader.plaintextSize} is
 * the authenticated one.
 */
export async function plaintextSize(path: string): Promise<number> {
  const handle = await open(path, 'r')
  try {
    const header = await readHeader(handle)
    const { size } = await handle.stat()
    return payloadLayout(size - header.headerLength, header.fixed.segmentSize).plaintextLength
  } finally {
    await handle.close()
  }
}
