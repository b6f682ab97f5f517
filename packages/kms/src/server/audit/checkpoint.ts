import { AuditError } from './errors.ts'
import { HASH_LENGTH, MAX_TREE_SIZE } from './merkle.ts'
import { fromBase64, type NoteKey, type NoteSigner, openNote, signNote } from './note.ts'

/** The state of a log. */
export interface Checkpoint {
  /** Whose log: {@link logOrigin} of the KMS. */
  readonly origin: string
  readonly size: number
  readonly rootHash: Uint8Array
}

/** The name of a key service's log and of the key that signs its checkpoints. */
export function logOrigin(kmsId: string): string {
  return `kms.cloister.invalid/${kmsId}`
}

/** Signs the state of the signer's log: a signed note. @see C2SP tlog-checkpoint */
export function signCheckpoint(state: Omit<Checkpoint, 'origin'>, signer: NoteSigner): string {
  const root = Buffer.from(state.rootHash).toString('base64')
  return signNote(`${signer.name}\n${state.size}\n${root}\n`, signer)
}

const bad = (what: string): AuditError => new AuditError('CHECKPOINT', what)

/**
 * Checks a checkpoint's signature and origin. Extension lines are refused: no log of ours has any.
 * @throws AuditError CHECKPOINT
 * @see C2SP tlog-checkpoint, "Note text"
 */
export function verifyCheckpoint(note: string, key: NoteKey): Checkpoint {
  const [origin, size = '', root = '', ...rest] = openNote(note, key).split('\n')
  if (rest.length !== 1 || rest[0] !== '') throw bad('wanted three lines: origin, size, root hash')
  if (origin !== key.name) throw bad(`origin: wanted ${key.name}, seen ${origin}`)
  if (!/^(0|[1-9]\d{0,15})$/.test(size) || Number(size) > MAX_TREE_SIZE) {
    throw bad('size: wanted a whole number up to 2^48')
  }
  const rootHash = fromBase64('the root hash', root)
  if (rootHash.length !== HASH_LENGTH) throw bad('root hash: wanted 32 bytes')
  return { origin, size: Number(size), rootHash }
}
