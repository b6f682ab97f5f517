import { generateKeyPairSync, randomBytes, sign } from 'node:crypto'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Dek } from '../dek.ts'
import { CodedError } from '../errors.ts'
import { type DatasetId, newDatasetId, type Slot } from '../header.ts'
import type { DatasetHead } from './head.ts'
import { openPart, type VerifiedDataset, type VerifiedPart } from './open.ts'
import { createDatasetWriter } from './write.ts'

export const dek = Dek.from(new Uint8Array(32).fill(3))

export const slot: Slot = {
  kmsId: 'kms',
  cmkId: 'cmk',
  cmkVersion: 1,
  wrappedDek: new Uint8Array(60).fill(1),
}

export function newWriter() {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return {
    writerKey: Uint8Array.from(publicKey.export({ format: 'der', type: 'spki' })),
    sign: (bytes: Uint8Array) =>
      Uint8Array.from(sign('sha256', bytes, { key: privateKey, dsaEncoding: 'ieee-p1363' })),
  }
}

export type TestWriter = ReturnType<typeof newWriter>

export function newFolder(): Promise<string> {
  return mkdtemp(join(tmpdir(), 'dataset-'))
}

/** Writes one version whose new parts hold `contents`, after those of `base`. */
export async function writeVersion(options: {
  readonly folder: string
  readonly writer: TestWriter
  readonly contents: readonly Uint8Array[]
  readonly datasetId?: DatasetId
  readonly base?: VerifiedDataset
  readonly keep?: readonly VerifiedPart[]
}): Promise<DatasetHead> {
  const { folder, writer, contents, base } = options
  const datasetId = options.datasetId ?? base?.manifest.datasetId ?? newDatasetId()
  const keep = options.keep ?? base?.parts ?? []
  const dataset = createDatasetWriter({ folder, datasetId, mediaType: 'text/csv', keep })
  for (const content of contents) {
    const part = await dataset.newPart({
      mediaType: 'text/csv',
      dek,
      slots: [slot],
      segmentSize: 256,
    })
    await part.write(content)
    await part.close(content.length)
  }
  return dataset.commit({
    version: (base?.manifest.version ?? 0) + 1,
    previous: base?.manifestDigest ?? null,
    ...writer,
  })
}

async function readPart(part: VerifiedPart): Promise<Buffer> {
  const reader = await openPart(part, dek)
  try {
    const pieces: Uint8Array[] = []
    for await (const piece of reader.stream()) pieces.push(piece)
    return Buffer.concat(pieces)
  } finally {
    await reader.close()
  }
}

export function readAll(dataset: VerifiedDataset): Promise<Buffer[]> {
  return Promise.all(dataset.parts.map(part => readPart(part)))
}

export function someBytes(length: number): Buffer {
  return randomBytes(length)
}

/** Returns the error's code, or `none`; anything but a coded error is thrown on. */
export async function codeOf(action: () => unknown): Promise<string> {
  try {
    await action()
  } catch (error) {
    if (error instanceof CodedError) return String(error.code)
    throw error
  }
  return 'none'
}
