import {
  type DatasetHead,
  type DatasetId,
  type Dek,
  datasetHeadFrom,
  datasetIdFrom,
  openDataset,
  openPart,
  type PartWithKey,
  readUnverifiedManifest,
  type Slot,
  type VerifiedDataset,
  type VerifiedPart,
} from '@cloister/sealed'
import { KmsError } from '../protocol/errors.ts'
import type { KmsClient } from './kms-client.ts'

/**
 * The id that a folder's manifest names. Nothing vouches for it: the folder's host could have put
 * another dataset there, so compare it with the one that is wanted.
 */
export async function unverifiedDatasetId(folder: string): Promise<DatasetId> {
  return datasetIdFrom((await readUnverifiedManifest(folder)).datasetId)
}

/**
 * The current version of a dataset, with its parts checked and none opened.
 * @throws KmsError NOT_FOUND; DatasetError when the folder does not hold the head's version
 */
export async function openCurrent(
  client: KmsClient,
  folder: string,
  datasetId: DatasetId,
): Promise<{ readonly head: DatasetHead; readonly dataset: VerifiedDataset }> {
  const found = await client.getHead(datasetId)
  if (found === null) {
    throw new KmsError('NOT_FOUND', `the key service knows no dataset ${datasetId}`)
  }
  const head = datasetHeadFrom(found)
  return { head, dataset: await openDataset(folder, { kind: 'head', head }) }
}

/** A part's slot of the client's key service. @throws KmsError WRONG_KMS */
export function slotOf(client: KmsClient, part: VerifiedPart): Slot {
  const slot = part.header.slots.find(({ kmsId }) => kmsId === client.pin.kmsId)
  if (slot !== undefined) return slot
  throw new KmsError('WRONG_KMS', `${part.path} has no slot of key service ${client.pin.kmsId}`)
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
): Promise<{ readonly head: DatasetHead; readonly parts: readonly PartWithKey[] }> {
  const { head, dataset } = await openCurrent(client, folder, datasetId)
  const parts: PartWithKey[] = []
  for (const part of dataset.parts) parts.push({ part, dek: await unwrapPart(client, part) })
  return { head, parts }
}

async function unwrapPart(client: KmsClient, part: VerifiedPart): Promise<Dek> {
  const { fixed, fixedDigest } = part.header
  const slot = slotOf(client, part)
  return await client.unwrapDek(slot.cmkId, slot, {
    datasetId: fixed.datasetId,
    fileId: fixed.fileId,
    fixedDigestHex: Buffer.from(fixedDigest).toString('hex'),
  })
}

/** The plaintext of a dataset's parts, one after the other; every piece is authenticated. */
export async function* plaintextOf(
  parts: readonly PartWithKey[],
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
