/**
 * Why a token or a key in it cannot be used:
 * `PKCS11` the module failed, or is none; `TOKEN` the token is not there, or more than one is meant;
 * `WRONG_PIN` the token has another PIN; `PIN_LOCKS` the PIN is locked, or one more wrong one would
 * lock it; `TOKEN_KEY` the key is not there, is not the only one of its name, or is another kind.
 */
export type Pkcs11Code = 'PKCS11' | 'TOKEN' | 'WRONG_PIN' | 'PIN_LOCKS' | 'TOKEN_KEY'

/** Thrown when a token cannot be used. Never holds a PIN. */
export class Pkcs11Error extends Error {
  /** What went wrong; stable between versions. */
  readonly code: Pkcs11Code

  /**
   * @param code - What went wrong, for programs.
   * @param message - What went wrong, for people.
   * @param options - Standard error options.
   */
  constructor(code: Pkcs11Code, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = new.target.name
    this.code = code
  }
}
