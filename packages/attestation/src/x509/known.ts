import { nodeSignatures, type VerifyingKey } from '../signatures.ts'
import { type Certificate, ECDSA_SHA256, parseCertificate } from './certificate.ts'
import { sameBytes } from './der.ts'
import { splitPemCertificates } from './pem.ts'

/** A certificate or a list, as far as its signature goes. */
type Signed = Pick<Certificate, 'tbs' | 'signature' | 'signatureAlgorithm'>

/**
 * What one verification has read and found signed already, so that it does neither twice: chains
 * share their certificates. A verification may build on what an earlier one found, and adds nothing
 * to it. Holds copies: what a caller does to its bytes afterwards changes nothing here.
 */
export class Known {
  readonly #earlier: Known | undefined
  readonly #certificates: Certificate[] = []
  readonly #signed = new WeakMap<Signed, WeakSet<Certificate>>()
  readonly #keys = new WeakMap<Certificate, { readonly key: VerifyingKey | undefined }>()

  constructor(earlier?: Known) {
    this.#earlier = earlier
  }

  /** Reads a chain. @throws DerError */
  readChain(pem: Uint8Array | string): readonly Certificate[] {
    return splitPemCertificates(pem).map(der => this.readCertificate(der))
  }

  /** Reads a certificate of its own bytes. @throws DerError */
  readCertificate(der: Uint8Array): Certificate {
    const found = this.#find(der)
    if (found !== undefined) return found
    const certificate = parseCertificate(der)
    this.#certificates.push(certificate)
    return certificate
  }

  #find(der: Uint8Array): Certificate | undefined {
    const own = this.#certificates.find(({ raw }) => sameBytes(raw, der))
    return own === undefined && this.#earlier !== undefined ? this.#earlier.#find(der) : own
  }

  /** The key of a certificate, if it is of P-256. */
  keyOf(certificate: Certificate): VerifyingKey | undefined {
    const known = this.#foundKey(certificate)
    if (known !== undefined) return known.key
    const key = nodeSignatures.keyFromSpki(certificate.spki)
    this.#keys.set(certificate, { key })
    return key
  }

  #foundKey(certificate: Certificate): { readonly key: VerifyingKey | undefined } | undefined {
    const own = this.#keys.get(certificate)
    return own === undefined && this.#earlier !== undefined
      ? this.#earlier.#foundKey(certificate)
      : own
  }

  /** Whether the issuer's key signed this, with ECDSA P-256 and SHA-256. */
  isSigned(signed: Signed, issuer: Certificate): boolean {
    if (signed.signatureAlgorithm !== ECDSA_SHA256) return false
    if (this.#wasSigned(signed, issuer)) return true
    const good = this.keyOf(issuer)?.verifies(signed.tbs, signed.signature, 'der') === true
    if (good) {
      const issuers = this.#signed.get(signed) ?? new WeakSet()
      this.#signed.set(signed, issuers.add(issuer))
    }
    return good
  }

  #wasSigned(signed: Signed, issuer: Certificate): boolean {
    if (this.#signed.get(signed)?.has(issuer) === true) return true
    if (this.#earlier === undefined) return false
    return this.#earlier.#wasSigned(signed, issuer)
  }
}
