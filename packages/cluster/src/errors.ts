import { CodedError } from '@cloister/attestation'

/**
 * Why a cluster cannot be looked at: `KUBECONFIG` says none, or is not one; `UNREACHABLE`; `REFUSED`:
 * it does not know the user, or does not let the user look; `ANSWER`: what it said is not Kubernetes.
 */
export type ClusterErrorCode = 'KUBECONFIG' | 'UNREACHABLE' | 'REFUSED' | 'ANSWER'

/** A cluster that cannot be looked at. */
export class ClusterError extends CodedError<ClusterErrorCode> {}
