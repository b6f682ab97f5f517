import { createPublicKey, type KeyObject, sign } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import {
  createDatasetWriter,
  type DatasetHead,
  type DatasetId,
  type DatasetWriter,
  Dek,
  manifestDigestFrom,
  newDatasetId,
  type PlainFile,
} from '@cloister/sealed'
import type { KmsClient } from './kms-client.ts'

/** What sealing a dataset takes, whatever it consists of. */
interface SealOptions {
  readonly client: KmsClient
  /** The CMK that each file's DEK is wrapped under. */
  readonly keyId: string
  /** The dataset's folder; made where it is absent. */
  readonly folder: string
  /** The dataset of which this becomes the next version; a new one unless told. */
  readonly datasetId?: DatasetId
  readonly mediaType: string
  /** The owner's P-256 private key, which signs the manifest. */
  readonly ownerKey: KeyObject
  /** Reads a file's plaintext, where the file is something else; as it is unless told. */
  readonly read?: (file: string) => AsyncIterable<Uint8Array>
  /** Told how many bytes have been sealed. */
  readonly onProgress?: (bytes: number) => void
}

/** What {@link sealFile} needs. */
export interface SealFileOptions extends SealOptions {
  /** The plaintext file. */
  readonly file: string
  /** Where the file stands among the dataset's files; nowhere in particular unless told. */
  readonly path?: string
  /** Rows of the file, or null where they are not known. */
  readonly rows: number | null
}

/** What {@link sealFiles} needs. */
export interface SealFilesOptions extends SealOptions {
  /** What `filesBelow` found. */
  readonly files: readonly PlainFile[]
}

/** A file to be sealed as one part. */
interface PlainPart extends Pick<SealFileOptions, 'file' | 'path' | 'rows'> {}

/**
 * Seals a file as the next version of a dataset and moves the dataset's head to it.
 * @returns the new head
 * @throws KmsError HEAD_CONFLICT when somebody else moved the head meanwhile
 * @throws KmsConnectionError, SealedFormatError, DatasetError
 */
export async function sealFile(options: SealFileOptions): Promise<DatasetHead> {
  return await sealParts(options, [options])
}

/**
 * Seals files, each under its path and a DEK of its own, as the next version of a dataset and moves
 * the dataset's head to it.
 * @returns the new head
 * @throws as {@link sealFile}
 */
export async function sealFiles(options: SealFilesOptions): Promise<DatasetHead> {
  const parts = options.files.map(({ file, path }) => ({ file, path, rows: null }))
  return await sealParts(options, parts)
}

async function sealParts(options: SealOptions, parts: readonly PlainPart[]): Promise<DatasetHead> {
  const { client, folder, mediaType, ownerKey } = options
  const datasetId = options.datasetId ?? newDatasetId()
  await mkdir(folder, { recursive: true })
  const before = options.datasetId === undefined ? null : await client.getHead(datasetId)
  const writer = createDatasetWriter({ folder, datasetId, mediaType, keep: [] })
  let sealedBytes = 0
  const onBytes = (bytes: number) => {
    sealedBytes += bytes
    options.onProgress?.(sealedBytes)
  }
  try {
    for (const part of parts) await sealPart(writer, options, datasetId, part, onBytes)
    const head = await writer.commit({
      version: (before?.version ?? 0) + 1,
      previous: before === null ? null : manifestDigestFrom(before.manifestDigest),
      sign: bytes => sign('sha256', bytes, { key: ownerKey, dsaEncoding: 'ieee-p1363' }),
      writerKey: createPublicKey(ownerKey).export({ format: 'der', type: 'spki' }),
    })
    const { version, manifestDigest, writerKey } = head
    await client.moveHead(datasetId, positionOf(before), { version, manifestDigest, writerKey })
    return head
  } catch (error) {
    await writer.abort()
    throw error
  }
}

async function sealPart(
  writer: DatasetWriter,
  { client, keyId, mediaType, read = asItIs }: SealOptions,
  datasetId: DatasetId,
  { file, path, rows }: PlainPart,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const dek = Dek.generate()
  try {
    const part = await writer.newPart({
      mediaType,
      dek,
      slots: async ({ fixed, fixedDigest }) => [
        await client.wrapDek(keyId, dek, {
          datasetId,
          fileId: fixed.fileId,
          fixedDigestHex: Buffer.from(fixedDigest).toString('hex'),
        }),
      ],
      ...(path === undefined ? {} : { path }),
    })
    for await (const chunk of read(file)) {
      await part.write(chunk)
      onBytes(chunk.length)
    }
    await part.close(rows)
  } finally {
    dek.dispose()
  }
}

function asItIs(file: string): AsyncIterable<Uint8Array> {
  return createReadStream(file, { highWaterMark: 1 << 20 })
}

function positionOf(head: { version: number; manifestDigest: string } | null) {
  return head === null ? null : { version: head.version, manifestDigest: head.manifestDigest }
}
