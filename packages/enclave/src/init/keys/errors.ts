import { CodedError } from '@cloister/sealed'

/**
 * Why the broker does not do what the program asks: `MALFORMED` the request is none, and the
 * connection ends; `UNKNOWN_INPUT`, `UNKNOWN_OUTPUT` the job has none of that name; `UNKNOWN_FILE`
 * the input has no such file, or none such was committed to the output; `DENIED` the key service refuses, or the file id has its key already;
 * `UNAVAILABLE` the key service did not answer for a minute; `PART` what is committed is not a sealed
 * file under a key that was given out for it.
 */
export type BrokerErrorCode =
  | 'MALFORMED'
  | 'UNKNOWN_INPUT'
  | 'UNKNOWN_OUTPUT'
  | 'UNKNOWN_FILE'
  | 'DENIED'
  | 'UNAVAILABLE'
  | 'PART'

/** A request that is answered with a refusal. */
export class BrokerError extends CodedError<BrokerErrorCode> {}
