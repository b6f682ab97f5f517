import { fromBase64Url } from '../protocol/encoding.ts'
import { JWS_TYPES, verifyJws } from '../protocol/jws.ts'
import { logKeySchema } from '../protocol/messages.ts'
import type { KmsPin } from '../protocol/pin.ts'
import { parseAs } from '../protocol/schema.ts'
import { type Checkpoint, logOrigin, verifyCheckpoint } from '../server/audit/checkpoint.ts'
import { AuditError } from '../server/audit/errors.ts'
import { verifyConsistency } from '../server/audit/merkle.ts'
import { type NoteKey, parseNoteKey } from '../server/audit/note.ts'
import { KmsConnectionError } from './connection-error.ts'
import type { KmsClient } from './kms-client.ts'

/** A checkpoint of a key service's audit log, with the key that signed it. */
export interface SeenLog {
  /** `<name>+<key id>+<base64>`. */
  readonly logKey: string
  /** Signed note. */
  readonly checkpoint: string
}

/** Remembers the newest checkpoint of each key service. */
export interface LogMemory {
  /** The newest that was kept, or `undefined` where none was. */
  newest(kmsId: string): Promise<SeenLog | undefined>
  /** Keeps one; resolves when it will be there after a crash. */
  keep(kmsId: string, seen: SeenLog, size: number): Promise<void>
}

/** Reads the key of a key service's log. @throws AuditError CHECKPOINT where it is another log's */
export function logKeyOf(text: string, kmsId: string): NoteKey {
  const key = parseNoteKey(text)
  const wanted = logOrigin(kmsId)
  if (key.name === wanted) return key
  throw new AuditError('CHECKPOINT', `log: wanted ${wanted}, seen ${key.name}`)
}

/** Verifies a key service's word on which key signs its log. @throws KmsError, AuditError */
export async function verifyLogKey(
  statement: string,
  pin: Pick<KmsPin, 'kmsId' | 'identityKey'>,
): Promise<string> {
  const { payload, signKey } = await verifyJws(JWS_TYPES.logKey, statement)
  const { kmsId, logKey } = parseAs('log key statement', logKeySchema, payload)
  if (signKey !== pin.identityKey || kmsId !== pin.kmsId) {
    throw new AuditError('CHECKPOINT', 'the log key is not stated by the pinned key service')
  }
  logKeyOf(logKey, kmsId)
  return logKey
}

/** Reads and verifies what was seen of a key service's log. @throws AuditError CHECKPOINT */
export function verifySeenLog(seen: SeenLog, kmsId: string): Checkpoint {
  return verifyCheckpoint(seen.checkpoint, logKeyOf(seen.logKey, kmsId))
}

/**
 * Requires a log to be the continuation of what was seen of it before.
 * @param path - Consistency proof, digests in base64url.
 * @throws KmsConnectionError LOG_HISTORY, also where the signing key is another
 */
export function requireContinued(
  kmsId: string,
  earlier: SeenLog,
  later: SeenLog,
  path: readonly string[],
): void {
  const first = verifySeenLog(earlier, kmsId)
  const second = verifySeenLog(later, kmsId)
  const refuse = (what: string, options?: ErrorOptions): never => {
    throw new KmsConnectionError(
      'LOG_HISTORY',
      `the key service's audit log is no continuation of the one seen before: ${what}`,
      options,
    )
  }
  if (earlier.logKey !== later.logKey) refuse('another key signs it')
  if (second.size < first.size) {
    refuse(`it had ${first.size} rows and has ${second.size}: an older database was put back`)
  }
  try {
    verifyConsistency({
      firstSize: first.size,
      firstRootHash: first.rootHash,
      secondSize: second.size,
      secondRootHash: second.rootHash,
      path: path.map(digest => fromBase64Url('consistency proof', digest)),
    })
  } catch (cause) {
    const rows = `its first ${first.size} rows are others`
    refuse(`${rows}: an older database was put back and has gone on, or rows were changed`, {
      cause,
    })
  }
}

/**
 * Asks a key service for its log's newest checkpoint, requires it to continue the one remembered,
 * and remembers it.
 * @throws KmsConnectionError LOG_HISTORY when it does not; STATEMENT when the answer is not the
 * pinned key service's; KmsError
 */
export async function followLog(client: KmsClient, memory: LogMemory): Promise<Checkpoint> {
  const { kmsId } = client.pin
  const kept = await memory.newest(kmsId)
  const { seen, path, checkpoint } = await currentLog(client, kept)
  if (kept !== undefined) requireContinued(kmsId, kept, seen, path)
  await memory.keep(kmsId, seen, checkpoint.size)
  return checkpoint
}

/** What a key service says of its log now, verified, with the way to it from an earlier checkpoint. */
async function currentLog(client: KmsClient, since: SeenLog | undefined) {
  const { kmsId } = client.pin
  const size = since === undefined ? 0 : verifySeenLog(since, kmsId).size
  const { logKey: statement, checkpoint: note, consistency } = await client.logSince(size)
  try {
    const seen = { logKey: await verifyLogKey(statement, client.pin), checkpoint: note }
    return { seen, path: consistency, checkpoint: verifySeenLog(seen, kmsId) }
  } catch (cause) {
    const detail = cause instanceof Error ? `: ${cause.message}` : ''
    throw new KmsConnectionError('STATEMENT', `the checkpoint does not hold${detail}`, { cause })
  }
}

/**
 * Requires a key service's log to continue a checkpoint that somebody else has of it.
 * @param note - Signed note.
 * @returns the newest checkpoint, a signed note
 * @throws KmsConnectionError LOG_HISTORY, STATEMENT; KmsError; AuditError CHECKPOINT when `note` is no
 * checkpoint of this key service
 */
export async function compareLog(client: KmsClient, note: string): Promise<string> {
  const { kmsId } = client.pin
  const { seen: now } = await currentLog(client, undefined)
  const earlier = { logKey: now.logKey, checkpoint: note }
  const { path, seen } = await currentLog(client, earlier)
  requireContinued(kmsId, earlier, seen, path)
  return seen.checkpoint
}

/**
 * The log's newest checkpoint, by the pinned key service.
 * @returns a signed note
 * @throws KmsConnectionError STATEMENT; KmsError
 */
export async function currentCheckpoint(client: KmsClient): Promise<string> {
  return (await currentLog(client, undefined)).seen.checkpoint
}
