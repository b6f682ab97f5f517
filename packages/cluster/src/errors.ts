import { CodedError } from '@cloister/attestation'

/**
 * Why a cluster does not do what was asked: `KUBECONFIG` says none, or is not one; `UNREACHABLE`;
 * `REFUSED`: it does not know the user, or does not let the user; `ANSWER`: what it said is not
 * Kubernetes; `ABSENT`: there is no such object; `EXISTS`: there is one already; `GONE`: a watch is
 * too old; `INVALID`: it takes no such object.
 */
export type ClusterErrorCode =
  | 'KUBECONFIG'
  | 'UNREACHABLE'
  | 'REFUSED'
  | 'ANSWER'
  | 'ABSENT'
  | 'EXISTS'
  | 'GONE'
  | 'INVALID'

/** A cluster that does not do what was asked. */
export class ClusterError extends CodedError<ClusterErrorCode> {}

/**
 * Why a job is not put into pods, or what became of it there: `OPTION`, `TEMPLATE`: what was asked
 * for is refused; `EVICTED`: the cluster ended the driver's pod; `LOST`: the run ended, or is gone,
 * and nobody says how its driver ended; `DRIVER`: the driver ended by a fault.
 */
export type RunErrorCode = 'OPTION' | 'TEMPLATE' | 'EVICTED' | 'LOST' | 'DRIVER'

/** A job that is not put into pods, or came to a bad end there. */
export class RunError extends CodedError<RunErrorCode> {
  /** What the driver ended with, where it ended by itself. */
  readonly exitCode: number | undefined

  constructor(code: RunErrorCode, message: string, exitCode?: number, options?: ErrorOptions) {
    super(code, message, options)
    this.exitCode = exitCode
  }
}
