import { CodedError } from '@cloister/sealed'

/**
 * Why the root key cannot be had.
 *
 * `MODE`: the file may be read by others, or is no plain file. `SIZE`: the file is not 32 bytes.
 * `KIND`: the folder holds a root key of the other kind. `PARAMETERS`: the stored scrypt parameters
 * are unreadable or outside the limits. `UNWRAP`: what is wrapped is not under this key. `TOKEN`: the
 * token is not there, or another. `TOKEN_KEY`: the token's key is not there, or could leave it.
 * `PIN_LOCKS`: the PIN is locked, or one more wrong one would lock it. `PKCS11`: the module failed.
 * `SVN`: sealed by a later version of the enclave.
 */
export type RootKeyCode =
  | 'MISSING'
  | 'MODE'
  | 'SIZE'
  | 'KIND'
  | 'PARAMETERS'
  | 'WRONG_PASSPHRASE'
  | 'UNWRAP'
  | 'TOKEN'
  | 'TOKEN_KEY'
  | 'WRONG_PIN'
  | 'PIN_LOCKS'
  | 'PKCS11'
  | 'SVN'
  | 'IO'

/** Thrown when the root key is missing, badly kept, or not the one that was meant. */
export class RootKeyError extends CodedError<RootKeyCode> {}
