import { CodedError } from '@cloister/sealed'

/**
 * Why a key was not used.
 *
 * `KEY_MODE`: the key is attested-only. `UNWRAP`: the wrapped DEK is not of this key and this
 * context; which of them, is not told. `GRANT`: the release grant is for something else.
 */
export type KeyCode =
  | 'KEY_NOT_FOUND'
  | 'KEY_DISABLED'
  | 'KEY_MODE'
  | 'KEY_VERSION'
  | 'UNWRAP'
  | 'GRANT'

/** Thrown when a CMK does not do what was asked of it. */
export class KeyError extends CodedError<KeyCode> {}
