import type { SealedFormatCode } from '../errors.ts'
import type { SegmentSource } from '../reader.ts'
import type { Run } from '../runs.ts'
import type { PoolCode } from './errors.ts'

/** Places in {@link IntoRequest.shared}. */
export const NEXT_RUN = 0
export const STOP = 1

/** Opens runs into a file; each worker takes the next run until none is left. */
export interface IntoRequest {
  readonly kind: 'into'
  readonly id: number
  readonly source: SegmentSource
  readonly target: number
  readonly runs: readonly Run[]
  /** Two 32-bit integers that all workers share: the next run, and whether to stop. */
  readonly shared: SharedArrayBuffer
}

/** Opens one run and hands its plaintext over. */
export interface RunRequest {
  readonly kind: 'run'
  readonly id: number
  readonly source: SegmentSource
  readonly run: Run
}

/** What a worker is asked. */
export type PoolRequest = IntoRequest | RunRequest

/** What a worker answers, once for each request. */
export type PoolReply =
  | { readonly kind: 'done'; readonly id: number; readonly pieces: readonly Uint8Array[] }
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
