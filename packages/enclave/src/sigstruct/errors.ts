import { CodedError } from '@cloister/attestation'

/**
 * Why a SIGSTRUCT or a signing key is refused:
 * `LENGTH` not 1808 bytes; `HEADER` a constant of the format is another; `FIELD` a field has a value
 * that it cannot have; `RESERVED` reserved bytes are not zero; `EXPONENT` the exponent is not 3;
 * `MODULUS` not a 3072-bit modulus; `SIGNATURE` the signature does not verify; `Q1`, `Q2` the
 * quotients that the processor uses are wrong; `KEY` a key is no RSA-3072 key with exponent 3;
 * `KEY_FILE` a key file cannot be read, is open to others or is there already; `PASSPHRASE` a key
 * file wants a passphrase, or another; `TOKEN` a PKCS#11 token, or the key in it, cannot be used;
 * `TEST_KEY` the key is a published one, and the enclave not for debugging.
 */
export type SigstructErrorCode =
  | 'LENGTH'
  | 'HEADER'
  | 'FIELD'
  | 'RESERVED'
  | 'EXPONENT'
  | 'MODULUS'
  | 'SIGNATURE'
  | 'Q1'
  | 'Q2'
  | 'KEY'
  | 'KEY_FILE'
  | 'PASSPHRASE'
  | 'TOKEN'
  | 'TEST_KEY'

/** Thrown when a SIGSTRUCT or a signing key is refused. Never holds key material. */
export class SigstructError extends CodedError<SigstructErrorCode> {}
