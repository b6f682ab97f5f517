import { createPublicKey, type KeyObject, sign } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import {
  createDatasetWriter,
  type DatasetHead,
  type DatasetId,
  Dek,
  manifestDigestFrom,
  newDatasetId,
} from '@cloister/sealed'
import type { KmsClient } from './kms-client.ts'

/** What {@link sealFile} needs. */
export interface SealFileOptions {
  readonly client: KmsClient
  /** The CMK that the file's DEK is wrapped under. */
  readonly keyId: string
  /** The plaintext file. */
  readonly file: string
  /** The dataset's folder; made where it is absent. */
  readonly folder: string
  /** The dataset of which this becomes the next version; a new one unless told. */
  readonly datasetId?: DatasetId
  readonly mediaType: string
  /** Rows of the file, or null where they are not known. */
  readonly rows: number | null
  /** The owner's P-256 private key, which signs the manifest. */
  readonly ownerKey: KeyObject
  /** Told how many bytes have been sealed. */
  readonly onProgress?: (bytes: number) => void
}

/**
 * Seals a file as the next version of a dataset and moves the dataset's head to it.
 * @returns the new head
 * @throws KmsError HEAD_CONFLICT when somebody else moved the head meanwhile
 * @throws KmsConnectionError, SealedFormatError, DatasetError
 */
export async function sealFile(options: SealFileOptions): Promise<DatasetHead> {
  const { client, folder, mediaType, ownerKey } = options
  const datasetId = options.datasetId ?? newDatasetId()
  await mkdir(folder, { recursive: true })
  const before = options.datasetId === undefined ? null : await client.getHead(datasetId)
  const writer = createDatasetWriter({ folder, datasetId, mediaType, keep: [] })
  try {
    await sealPart(writer, options, datasetId)
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
  writer: ReturnType<typeof createDatasetWriter>,
  options: SealFileOptions,
  datasetId: DatasetId,
): Promise<void> {
  const { client, keyId, file, mediaType, rows, onProgress } = options
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
    })
    let sealed = 0
    for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 })) {
      await part.write(chunk)
      sealed += chunk.length
      onProgress?.(sealed)
    }
    await part.close(rows)
  } finally {
    dek.dispose()
  }
}

function positionOf(head: { version: number; manifestDigest: string } | null) {
  return head === null ? null : { version: head.version, manifestDigest: head.manifestDigest }
}
