import { type AuditEntry, isRestore } from '../server/audit/entry.ts'
import { KmsConnectionError } from './connection-error.ts'
import type { KmsClient } from './kms-client.ts'
import { parseExportLine } from './log-export/format.ts'
import { verifyLogExport } from './log-export/verify.ts'
import { exportLog } from './log-export/write.ts'
import type { LogFolder } from './log-folder.ts'
import { followLog, verifySeenLog } from './log-history.ts'

/** How far the clocks of client and key service may be apart. */
const CLOCK_SKEW_MS = 5 * 60 * 1000

/** What a client lets pass: that rows which it has seen are there no more. */
export interface AcceptedRestore {
  /** When the key service's database was restored, by its own clock. */
  readonly at: string
  /** Rows of the log that were in the backup. */
  readonly rows: number
  /** Rows that this client had seen. */
  readonly seen: number
}

/**
 * Takes the log of a key service for the one to follow although it does not continue the one seen
 * before, where the log itself says that its database was restored since. The whole log is verified
 * first.
 * @param rows - Rows that were in the backup, as whoever runs the key service has told
 * @throws KmsConnectionError LOG_HISTORY where the log says nothing of the kind; KmsError; AuditError
 */
export async function acceptRestored(
  client: KmsClient,
  memory: LogFolder,
  rows: number,
): Promise<AcceptedRestore> {
  const { kmsId } = client.pin
  const kept = await memory.newest(kmsId)
  const { acceptedAt, keptAt } = await memory.newsFrom(kmsId)
  const seen = kept === undefined ? 0 : verifySeenLog(kept, kmsId).size
  let restore: AuditEntry | undefined
  const source = (async function* () {
    for await (const text of exportLog(client)) {
      const line = Buffer.from(text)
      restore ??= restoreAt(rows, line.subarray(0, -1))
      yield line
    }
  })()
  const { verdict } = await verifyLogExport(source, { pin: client.pin })
  const since = Math.max(keptAt.getTime() - CLOCK_SKEW_MS, acceptedAt.getTime())
  const isNew = Date.parse(restore?.at ?? '') > since
  if (verdict !== 'intact' || restore === undefined || rows >= seen || !isNew) {
    throw new KmsConnectionError(
      'LOG_HISTORY',
      `the log does not say that its database was restored, since this client saw it, to its first ${rows} rows`,
    )
  }
  await memory.putAside(kmsId, restore.at)
  await followLog(client, memory)
  return { at: restore.at, rows, seen }
}

function restoreAt(index: number, line: Buffer): AuditEntry | undefined {
  const parsed = parseExportLine(line)
  if (parsed.kind !== 'row' || parsed.index !== index || parsed.leaf === undefined) return undefined
  const entry: AuditEntry = JSON.parse(Buffer.from(parsed.leaf).toString())
  return isRestore(entry) ? entry : undefined
}
