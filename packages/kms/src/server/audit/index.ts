export { logOrigin, signCheckpoint, verifyCheckpoint } from './checkpoint.ts'
export { type AuditEntry, concerns, encodeAuditEntry } from './entry.ts'
export { AuditError } from './errors.ts'
export { AuditLog } from './log.ts'
export { openLogKey } from './log-key.ts'
export { leafHash, verifyConsistency, verifyInclusion } from './merkle.ts'
export {
  encodeNoteKey,
  type NoteSigner,
  openNote,
  parseNoteKey,
  signNote,
} from './note.ts'
export { logStatement, provenRows } from './proofs.ts'
export { Tally } from './tally.ts'
export { Witness } from './witness.ts'
