import { CodedError } from '../errors.ts'

/**
 * Why a pool could not open segments, other than for their own sake: `CLOSED`, `WORKER` for a thread
 * that failed, `READ` and `WRITE` for what the operating system refused.
 */
export type PoolCode = 'CLOSED' | 'WORKER' | 'READ' | 'WRITE'

/** Thrown for failures of a pool; a segment's own failures are `SealedFormatError`s. */
export class PoolError extends CodedError<PoolCode> {}
