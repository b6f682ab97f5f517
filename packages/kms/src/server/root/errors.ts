import { CodedError } from '@cloister/sealed'

/**
 * Why the root key cannot be had.
 *
 * `MODE`: the file may be read by others, or is no plain file. `SIZE`: the file is not 32 bytes.
 * `KIND`: the folder holds a root key of the other kind. `PARAMETERS`: the stored scrypt parameters
 * are unreadable or outside the limits.
 */
export type RootKeyCode =
  | 'MISSING'
  | 'MODE'
  | 'SIZE'
  | 'KIND'
  | 'PARAMETERS'
  | 'WRONG_PASSPHRASE'
  | 'UNWRAP'
  | 'IO'

/** Thrown when the root key is missing, badly kept, or not the one that was meant. */
export class RootKeyError extends CodedError<RootKeyCode> {}
