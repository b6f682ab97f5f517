import { type Act, performIfDue } from './acts.ts'
import type { KeyDescription } from './keys/index.ts'
import type { KmsService } from './service.ts'
import type { StoreTransaction } from './store/index.ts'

/** What one round did. */
export interface Upkeep {
  readonly rotated: readonly string[]
  readonly deleted: readonly string[]
}

/**
 * Carries out what is planned for keys: rotations and deletions whose time has come, each an act of
 * its own in the audit log. Of several replicas that find one due, one does it: that it still is, is
 * read in the transaction that changes it.
 */
export async function keepKeys(service: KmsService): Promise<Upkeep> {
  const { life } = service.keys
  const at = service.now()
  const due = await service.store.read(async tx => ({
    rotations: await life.dueForRotation(tx, at),
    deletions: await life.dueForDeletion(tx, at),
  }))
  const rotated: string[] = []
  for (const key of due.rotations) {
    const act = actOn('rotate-key', key)
    const done = await performIfDue(service, act, at, async tx => {
      const done = await life.rotateIfDue(tx, key.keyId, at)
      act.details['version'] = done?.currentVersion ?? null
      return done
    })
    if (done !== undefined) rotated.push(key.keyId)
  }
  const deleted: string[] = []
  for (const key of due.deletions) {
    const act = actOn('delete-key', key)
    const remove = (tx: StoreTransaction) => life.deleteIfDue(tx, key.keyId, at)
    const done = await performIfDue(service, act, at, remove)
    if (done !== undefined) deleted.push(key.keyId)
  }
  return { rotated, deleted }
}

function actOn(action: string, { keyId, owner }: KeyDescription): Act {
  return { actor: 'kms', action, details: { keyId, accounts: [owner] } }
}
