import { type DatasetId, headerBytes, replaceHeader } from '@cloister/sealed'
import type { KmsClient } from './kms-client.ts'
import { openCurrent, slotOf } from './own-dataset.ts'

/** What {@link rewrapDataset} needs. */
export interface RewrapDatasetOptions {
  readonly client: KmsClient
  readonly folder: string
  readonly datasetId: DatasetId
  /** Told after each part. */
  readonly onProgress?: (done: { readonly parts: number; readonly of: number }) => void
}

/** What {@link rewrapDataset} did. */
export interface RewrappedDataset {
  readonly parts: number
  /** Parts whose DEK was under an older version of its key. */
  readonly rewrapped: number
}

/**
 * Has the DEKs of a dataset's current version wrapped anew under the newest version of their keys.
 * Payloads, manifest and head stay as they are. Each part is replaced whole or not at all; after an
 * interruption, called again, it goes on with the rest.
 * @throws KmsError NOT_OWNER, KEY_DISABLED, SLOT_INVALID
 * @throws DatasetError when the folder does not hold the version that the head names
 */
export async function rewrapDataset(options: RewrapDatasetOptions): Promise<RewrappedDataset> {
  const { client, folder, datasetId, onProgress } = options
  const { dataset } = await openCurrent(client, folder, datasetId)
  const of = dataset.parts.length
  let rewrapped = 0
  for (const [index, part] of dataset.parts.entries()) {
    const before = headerBytes(part.header)
    const after = await client.rewrapHeader(slotOf(client, part).cmkId, before)
    if (Buffer.compare(before, after) !== 0) {
      await replaceHeader(part.path, part.header, after)
      rewrapped += 1
    }
    onProgress?.({ parts: index + 1, of })
  }
  return { parts: of, rewrapped }
}
