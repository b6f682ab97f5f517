import type { SealedFormatCode } from '../errors.ts'
import type { SegmentSource } from '../reader.ts'
import type { Run } from '../runs.ts'
import type { PoolCode } from './errors.ts'

/** Places in {@link PoolRequest.shared}. */
export const NEXT_RUN = 0
export const STOP = 1

/** Opens runs into a file; each worker takes the next run until none is left. */
export interface PoolRequest {
  readonly id: number
  readonly source: SegmentSource
  readonly target: number
  readonly runs: readonly Run[]
  /** Two 32-bit integers that all workers share: the next run, and whether to stop. */
  readonly shared: SharedArrayBuffer
}

/** What a worker answers, once for each request. */
export type PoolReply =
  | { readonly kind: 'done'; readonly id: number }
  | {
      readonly kind: 'failed'
      readonly id: number
      readonly of: 'sealed'
      readonly code: SealedFormatCode
      readonly message: string
    }
  | {
      readonly kind: 'failed'
      readonly id: number
      readonly of: 'pool'
      readonly code: PoolCode
      readonly message: string
    }
