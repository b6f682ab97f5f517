import { createPublicKey, type KeyObject, sign } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  createDatasetWriter,
  type DatasetHead,
  type DatasetId,
  Dek,
  datasetHeadFrom,
  datasetIdFrom,
  MANIFEST_NAME,
  manifestDigestFrom,
  newDatasetId,
  openDataset,
  openPart,
  parseManifest,
  type VerifiedPart,
} from '@cloister/sealed'
import { KmsError } from '../protocol/errors.ts'
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

/**
 * The id that a folder's manifest names. Nothing vouches for it: the folder's host could have put
 * another dataset there, so compare it with the one that is wanted.
 */
export async function unverifiedDatasetId(folder: string): Promise<DatasetId> {
  const jws = await readFile(join(folder, MANIFEST_NAME), 'utf8')
  const payload = jws.split('.')[1] ?? ''
  return datasetIdFrom(parseManifest(Buffer.from(payload, 'base64url')).datasetId)
}

/** Part of a dataset with the key that opens it. */
export interface OpenedPart {
  readonly part: VerifiedPart
  readonly dek: Dek
}

/**
 * Opens, outside any enclave, the current version of a dataset under `open` keys.
 * @throws KmsError KEY_ATTESTED_ONLY for data that only an attested instance may open
 * @throws DatasetError when the folder does not hold the version that the head names
 */
export async function openOwnDataset(
  client: KmsClient,
  folder: string,
  datasetId: DatasetId,
): Promise<{ readonly head: DatasetHead; readonly parts: readonly OpenedPart[] }> {
  const found = await client.getHead(datasetId)
  if (found === null) {
    throw new KmsError('NOT_FOUND', `the key service knows no dataset ${datasetId}`)
  }
  const head = datasetHeadFrom(found)
  const dataset = await openDataset(folder, { kind: 'head', head })
  const parts: OpenedPart[] = []
  for (const part of dataset.parts) parts.push({ part, dek: await unwrapPart(client, part) })
  return { head, parts }
}

async function unwrapPart(client: KmsClient, part: VerifiedPart): Promise<Dek> {
  const { fixed, fixedDigest, slots } = part.header
  const slot = slots.find(({ kmsId }) => kmsId === client.pin.kmsId)
  if (slot === undefined) {
    throw new KmsError('WRONG_KMS', `${part.path} has no slot of key service ${client.pin.kmsId}`)
  }
  return await client.unwrapDek(slot.cmkId, slot, {
    datasetId: fixed.datasetId,
    fileId: fixed.fileId,
    fixedDigestHex: Buffer.from(fixedDigest).toString('hex'),
  })
}

/** The plaintext of a dataset's parts, one after the other; every piece is authenticated. */
export async function* plaintextOf(
  parts: readonly OpenedPart[],
): AsyncGenerator<Uint8Array, void, undefined> {
  for (const { part, dek } of parts) {
    const reader = await openPart(part, dek)
    try {
      yield* reader.stream()
    } finally {
      await reader.close()
    }
  }
}
