import { toBase64Url } from '../../protocol/encoding.ts'
import { JWS_TYPES, signJws } from '../../protocol/jws.ts'
import type { AuditProof } from '../../protocol/messages.ts'
import type { KmsService } from '../service.ts'
import { signCheckpoint } from './checkpoint.ts'
import { AuditError } from './errors.ts'
import { encodeNoteKey } from './note.ts'

/** Rows, the checkpoint of the log they stand in, and what leads from one to the other. */
interface ProvenRows {
  readonly logKey: string
  readonly checkpoint: string
  readonly proofs: readonly AuditProof[]
  /** From an earlier size of the log to the checkpoint's. */
  readonly consistency: readonly string[]
}

/**
 * Proves rows to stand in the log as it is now, and the log to be a continuation of itself at an
 * earlier size. The rows must have been committed: what is signed cannot be taken back.
 * @param since - The earlier size; the proof is empty without one.
 * @throws AuditError RANGE, LOG_TAMPERED
 */
export async function provenRows(
  { audit, logKey, store }: Pick<KmsService, 'audit' | 'logKey' | 'store'>,
  indexes: readonly number[],
  since?: number,
): Promise<ProvenRows> {
  const { consistency, proofs, state } = await store.read(async tx => {
    const state = await audit.root(tx)
    const proofs: AuditProof[] = []
    for (const index of indexes) {
      const [row] = await audit.entries(tx, { after: index - 1, limit: 1 })
      if (row === undefined) throw new AuditError('LOG_TAMPERED', `audit row ${index} is gone`)
      const { path } = await audit.inclusionProof(tx, index, state.size)
      proofs.push({ leaf: row.leaf, index, path: path.map(toBase64Url) })
    }
    const from = since ?? state.size
    const consistency = await audit.consistencyProof(tx, from, state.size)
    return { consistency: consistency.map(toBase64Url), proofs, state }
  })
  const checkpoint = signCheckpoint(state, logKey)
  return { logKey: encodeNoteKey(logKey), checkpoint, proofs, consistency }
}

/** States by the identity key which key signs the log's checkpoints: a compact JWS. */
export async function logStatement({ identity, logKey }: KmsService): Promise<string> {
  const { kmsId, privateKey } = identity
  return await signJws(JWS_TYPES.logKey, { kmsId, logKey: encodeNoteKey(logKey) }, privateKey)
}
