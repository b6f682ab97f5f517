import { CodedError } from '@cloister/attestation'

/**
 * Why the launcher started no instance, or lost one:
 * `JOB` the job is none, or does not fit the folders given; `FOLDER` a folder is not there;
 * `SANDBOX` the instance could not be started, or there is no sandbox and nobody said
 * that none is needed; `MEMORY` the job asks for more memory than there is, or used more than it may;
 * `STATUS` the instance ended without saying how it went; `ABORTED` the caller asked for it;
 * `EXECUTORS` no executor is left, or the number of them that was asked for cannot be;
 * `DRIVER` the driver's host is not there, was lost or takes no executor from here;
 * `HOSTS_SECRET` what hosts are to have in common is no secret, or the other host has another.
 */
export type LaunchErrorCode =
  | 'JOB'
  | 'FOLDER'
  | 'SANDBOX'
  | 'MEMORY'
  | 'STATUS'
  | 'ABORTED'
  | 'EXECUTORS'
  | 'DRIVER'
  | 'HOSTS_SECRET'

/** Thrown when the launcher started no instance, or lost one. */
export class LaunchError extends CodedError<LaunchErrorCode> {}
