import { RootKeyError } from './errors.ts'
import { KeyWrap } from './key-wrap.ts'
import type { RootKey, RootPurpose } from './root-key.ts'

/** Moves what is wrapped from one root key to another. */
export class RootChange {
  readonly #from: RootKey
  readonly #to: RootKey
  readonly #wraps = new Map<RootPurpose, { readonly from: KeyWrap; readonly to: KeyWrap }>()

  constructor(from: RootKey, to: RootKey) {
    this.#from = from
    this.#to = to
  }

  /**
   * Wraps anew, bound to the same associated data.
   * @param wrapped - What {@link KeyWrap.wrap} gave, base64url
   * @throws RootKeyError UNWRAP
   */
  rewrap(purpose: RootPurpose, wrapped: string, associatedData: Uint8Array): string {
    const { from, to } = this.#wrapsFor(purpose)
    const bytes = from.unwrap(Buffer.from(wrapped, 'base64url'), associatedData)
    if (bytes === undefined) {
      throw new RootKeyError('UNWRAP', `what is wrapped for ${purpose} is not under this root key`)
    }
    const rewrapped = to.wrap(bytes, associatedData)
    bytes.fill(0)
    return Buffer.from(rewrapped).toString('base64url')
  }

  #wrapsFor(purpose: RootPurpose) {
    const known = this.#wraps.get(purpose)
    if (known !== undefined) return known
    const made = {
      from: KeyWrap.derivedFrom(this.#from, purpose),
      to: KeyWrap.derivedFrom(this.#to, purpose),
    }
    this.#wraps.set(purpose, made)
    return made
  }
}
