import { Secret } from './root/index.ts'
import type { SealedSecrets, StoreTransaction } from './store/index.ts'

const NAME = 'restored-at'

/**
 * When the database was last taken for a restored one. What was made before and is good for minutes,
 * challenges, tokens and signed requests, may have been used since the backup was made, and nobody
 * remembers: it counts no more.
 */
export async function readRestoredAt(
  tx: StoreTransaction,
  secrets: SealedSecrets,
): Promise<Date | undefined> {
  const secret = await secrets.get(tx, NAME)
  return secret === undefined
    ? undefined
    : new Date(secret.with(bytes => Buffer.from(bytes).toString()))
}

/** Notes that the database is a restored one. */
export async function noteRestored(
  tx: StoreTransaction,
  secrets: SealedSecrets,
  at: Date,
): Promise<void> {
  await secrets.put(tx, NAME, Secret.from(Buffer.from(at.toISOString())))
}
