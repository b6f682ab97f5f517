import {
  type Dek,
  encodeSealedHeader,
  type FixedPart,
  parseSealedHeader,
  type Slot,
} from '@cloister/sealed'
import type { DekContextJson } from '../protocol/messages.ts'
import type { KmsClient } from './kms-client.ts'

/** Has a file's DEK wrapped before the file is there. */
export async function slotFor(
  client: KmsClient,
  keyId: string,
  fixed: FixedPart,
  dek: Dek,
): Promise<{ readonly slot: Slot; readonly context: DekContextJson }> {
  // The header's length is part of what is bound: one made with another slot has the same.
  const probe = {
    kmsId: client.pin.kmsId,
    cmkId: keyId,
    cmkVersion: 1,
    wrappedDek: new Uint8Array(61),
  }
  const { fixedDigest } = parseSealedHeader(encodeSealedHeader({ fixed, slots: [probe], dek }))
  const context = {
    datasetId: fixed.datasetId,
    fileId: fixed.fileId,
    fixedDigestHex: Buffer.from(fixedDigest).toString('hex'),
  }
  return { context, slot: await client.wrapDek(keyId, dek, context) }
}
