import { AuditError } from '../../server/audit/errors.ts'
import type { KmsClient } from '../kms-client.ts'
import { verifyLogKey, verifySeenLog } from '../log-history.ts'
import { encodeExportLine } from './format.ts'

/**
 * Exports a key service's audit log as it is now: every row that the caller may see, of the others
 * the hash, and a signed checkpoint after each page. `verifyLogExport` reads it.
 * @returns the export's lines, each with its newline
 * @throws KmsError UNAUTHENTICATED, INTEGRITY; KmsConnectionError; AuditError CHECKPOINT
 */
export async function* exportLog(client: KmsClient): AsyncGenerator<string> {
  const { kmsId } = client.pin
  const { logKey: statement, checkpoint } = await client.logSince(0)
  const logKey = await verifyLogKey(statement, client.pin)
  const { size } = verifySeenLog({ logKey, checkpoint }, kmsId)
  yield `${encodeExportLine({ kind: 'log', kmsId, logKey: statement, size })}\n`
  for (let from = 0; from < size || from === 0; ) {
    const page = await client.logRows(from, size)
    if (page.rows.length === 0 && size > 0) {
      throw new AuditError('RANGE', `the key service gives no rows from ${from} on`)
    }
    for (const [offset, { leaf, leafHash }] of page.rows.entries()) {
      const bytes = leaf === undefined ? undefined : new TextEncoder().encode(leaf)
      const row = { index: from + offset, leafHash, leaf: bytes }
      yield `${encodeExportLine({ kind: 'row', ...row })}\n`
    }
    const { checkpoint: note, frontier } = page
    yield `${encodeExportLine({ kind: 'checkpoint', note, frontier })}\n`
    if (size === 0) return
    from += page.rows.length
  }
}
