import { CodedError } from '@cloister/attestation'

/**
 * Why a job does not run in a container: `ENGINE` no container engine answers; `NOT_ALLOWED` it does
 * not let this user; `IMAGE` it does not have the image; `USER` the container's user cannot read
 * the job's inputs or write where its results go; `DEVICE` the machine has no SGX for it; `START` the engine started no
 * container, or what it started is no launcher; `LOST` the container ended without saying how.
 */
export type ContainerErrorCode =
  | 'ENGINE'
  | 'NOT_ALLOWED'
  | 'IMAGE'
  | 'USER'
  | 'DEVICE'
  | 'START'
  | 'LOST'

/** Thrown when a job does not run in a container, or its container was lost. */
export class ContainerError extends CodedError<ContainerErrorCode> {}
