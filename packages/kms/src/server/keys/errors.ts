import { CodedError } from '@cloister/sealed'

/**
 * Why a key was not used, or not changed.
 *
 * `KEY_MODE`: the key is attested-only. `KEY_STATE`: a key at this point of its life is not used so.
 * `KEY_USAGE`: its kind or usage does not do that. `UNWRAP`: the wrapped DEK is not of this key and
 * this context; `CIPHERTEXT`: nor is the ciphertext; which of them, is not told. `GRANT`: the release
 * grant is for something else. `IMPORT_TOKEN`: the token is not of this key and its wrapping key,
 * or too old. `IMPORT_MATERIAL`: what was brought is no material for this key. `LIMIT`: there
 * would be too many of something.
 */
export type KeyCode =
  | 'KEY_NOT_FOUND'
  | 'KEY_DISABLED'
  | 'KEY_STATE'
  | 'KEY_MODE'
  | 'KEY_USAGE'
  | 'KEY_VERSION'
  | 'UNWRAP'
  | 'CIPHERTEXT'
  | 'GRANT'
  | 'ALIAS'
  | 'ALIAS_TAKEN'
  | 'ALIAS_NOT_FOUND'
  | 'IMPORT_TOKEN'
  | 'IMPORT_MATERIAL'
  | 'LIMIT'

/** Thrown when a CMK does not do what was asked of it. */
export class KeyError extends CodedError<KeyCode> {}
