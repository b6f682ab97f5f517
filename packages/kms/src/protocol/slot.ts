import type { Slot } from '@cloister/sealed'
import { fromBase64Url, toBase64Url } from './encoding.ts'
import type { SlotJson } from './messages.ts'

/** A slot as JSON. */
export function slotToJson(slot: Slot): SlotJson {
  const { kmsId, cmkId, cmkVersion, wrappedDek } = slot
  return { kmsId, cmkId, cmkVersion, wrappedDek: toBase64Url(wrappedDek) }
}

/**
 * A slot from JSON that fits its schema.
 * @throws KmsError MALFORMED
 */
export function slotFromJson(slot: SlotJson): Slot {
  return { ...slot, wrappedDek: fromBase64Url('wrapped DEK', slot.wrappedDek) }
}
