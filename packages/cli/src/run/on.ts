import { CodedError } from '@cloister/attestation'
import { UsageError } from '../usage-error.ts'

/** On what a job runs. */
export type On =
  /** The query runner: DuckDB in one instance on this machine. */
  | { readonly kind: 'embedded' }
  /** One instance on this machine, or a driver and executors. */
  | { readonly kind: 'local' }
  /** In containers of this machine's. */
  | { readonly kind: 'docker' }
  /** Pods of a Kubernetes cluster. */
  | { readonly kind: 'k8s' }

/**
 * Why a job does not run on what was named:
 * `STANDALONE_CLUSTER` nothing attests what Spark's own cluster starts;
 * `NO_QUERY_RUNNER` the image is another program's.
 */
type OnErrorCode = 'STANDALONE_CLUSTER' | 'NO_QUERY_RUNNER'

/** Thrown when a job does not run on what was named. */
export class OnError extends CodedError<OnErrorCode> {}

/** Reads `--on`. @throws UsageError, OnError */
export function parseOn(text: string): On {
  const [kind = '', ...rest] = text.split(':')
  switch (kind) {
    case 'embedded':
    case 'local':
    case 'docker':
    case 'k8s':
      if (rest.length === 0) return { kind }
      break
    case 'spark': {
      const why =
        'master and workers start executors by a command line and an environment of their host’s making and would hold what protects their connections; nothing attests them'
      throw new OnError(
        'STANDALONE_CLUSTER',
        `--on ${text}: no standalone cluster of Spark: ${why}`,
      )
    }
  }
  throw new UsageError(
    `--on: wanted embedded, local, docker or k8s, seen ${text}`,
    'cloister run --help',
  )
}
