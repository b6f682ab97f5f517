import { CodedError } from '@cloister/sealed'

/**
 * Why key material did not do what was asked.
 *
 * `UNSUPPORTED`: this kind of key does not do that, or not in that mode. `LENGTH`: an input is longer
 * or shorter than the key and mode allow. `DECRYPT`: the ciphertext is not of this key and associated
 * data; which of them, is not told.
 */
export type CryptoCode = 'UNSUPPORTED' | 'LENGTH' | 'DECRYPT'

/** Thrown when a cryptographic operation is refused or fails. */
export class CryptoError extends CodedError<CryptoCode> {}
