import { CodedError } from '@cloister/attestation'

/**
 * Why the launcher started no instance, or lost one:
 * `JOB` the job is none, or does not fit the folders given; `FOLDER` a folder is not there;
 * `MEASUREMENT` the job is for another image; `UNSUPPORTED` the image asks for what this launcher
 * does not do yet; `SANDBOX` the instance could not be started;
 * `STATUS` the instance ended without saying how it went; `ABORTED` the caller asked for it.
 */
export type LaunchErrorCode =
  | 'JOB'
  | 'FOLDER'
  | 'MEASUREMENT'
  | 'UNSUPPORTED'
  | 'SANDBOX'
  | 'STATUS'
  | 'ABORTED'

/** Thrown when the launcher started no instance, or lost one. */
export class LaunchError extends CodedError<LaunchErrorCode> {}
