import { randomBytes } from 'node:crypto'
import { type FileHandle, mkdtemp, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Dek } from '../dek.ts'
import { CodedError } from '../errors.ts'
import { fixedPart, newDatasetId } from '../header.ts'
import { openSealedFile, type SealedFileReader } from '../reader.ts'
import { createSealedFile } from '../writer.ts'

const slot = { kmsId: 'kms', cmkId: 'cmk', cmkVersion: 1, wrappedDek: new Uint8Array(60) }

/** A folder with sealed files, and what was opened there. */
export class PoolFixture {
  readonly dek: Dek = Dek.generate()
  readonly folder: string
  readonly #open: { close(): Promise<void> }[] = []

  private constructor(folder: string) {
    this.folder = folder
  }

  static async create(): Promise<PoolFixture> {
    return new PoolFixture(await mkdtemp(join(tmpdir(), 'pool-')))
  }

  newPath(): string {
    return join(this.folder, randomBytes(8).toString('hex'))
  }

  async seal(plaintext: Uint8Array, segmentSize: number, times = 1): Promise<string> {
    const path = this.newPath()
    const mediaType = 'application/octet-stream'
    const fixed = fixedPart({ datasetId: newDatasetId(), part: 0, mediaType, segmentSize })
    const writer = await createSealedFile({ path, fixed, dek: this.dek, slots: [slot] })
    for (let time = 0; time < times; time += 1) await writer.write(plaintext)
    await writer.close()
    return path
  }

  async openFile(path: string): Promise<SealedFileReader> {
    return this.closeLater(await openSealedFile(path, this.dek))
  }

  async openTarget(): Promise<FileHandle> {
    return this.closeLater(await open(this.newPath(), 'wx+'))
  }

  closeLater<T extends { close(): Promise<void> }>(open: T): T {
    this.#open.push(open)
    return open
  }

  async closeAll(): Promise<void> {
    for (const file of this.#open.splice(0)) await file.close()
  }

  async remove(): Promise<void> {
    await this.closeAll()
    await rm(this.folder, { recursive: true })
  }
}

/** Name and code of what `work` fails with, or `none`. */
export async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work
  } catch (error) {
    if (error instanceof CodedError) return `${error.name} ${error.code}`
    throw error
  }
  return 'none'
}

/** Flips one bit of segment `index`'s ciphertext. */
export async function flipSegment(
  path: string,
  file: SealedFileReader,
  index: number,
): Promise<void> {
  const handle = await open(path, 'r+')
  try {
    const { fixed, headerLength } = file.header
    const at = headerLength + index * fixed.segmentSize + 100
    const { buffer } = await handle.read(new Uint8Array(1), 0, 1, at)
    buffer[0] = (buffer[0] ?? 0) ^ 1
    await handle.write(buffer, 0, 1, at)
  } finally {
    await handle.close()
  }
}

/** Numbers of all segments. */
export function allSegments(file: SealedFileReader): number[] {
  return Array.from({ length: file.segmentsOf(0, file.plaintextSize).end }, (_, index) => index)
}
