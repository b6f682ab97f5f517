import type { SignatureAlgorithm, VerifyingKey } from '../crypto/primitives.ts'
import { type SignatureVerifier, vendorSignatures } from '../signatures.ts'
import { type Certificate, parseCertificate } from './certificate.ts'
import { sameBytes } from './der.ts'
import { rawSignature } from './ecdsa.ts'
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
  readonly #signatures: SignatureVerifier
  readonly #certificates: Certificate[] = []
  readonly #signed = new WeakMap<Signed, WeakSet<Certificate>>()
  readonly #keys = new WeakMap<Certificate, Map<SignatureAlgorithm, VerifyingKey | undefined>>()

  /**
   * @param earlier - What an earlier verification found.
   * @param signatures - What verifies signatures; by default, what the earlier one did with.
   */
  constructor(
    earlier?: Known,
    signatures: SignatureVerifier = earlier === undefined ? vendorSignatures : earlier.#signatures,
  ) {
    this.#earlier = earlier
    this.#signatures = signatures
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

  /** The key of a certificate, if it is one for the algorithm. */
  keyOf(certificate: Certificate, algorithm: SignatureAlgorithm): VerifyingKey | undefined {
    const known = this.#keysOf(certificate, algorithm)
    if (known?.has(algorithm) === true) return known.get(algorithm)
    const key = this.#signatures.keyFromSpki(certificate.spki, algorithm)
    const keys = this.#keys.get(certificate) ?? new Map()
    this.#keys.set(certificate, keys.set(algorithm, key))
    return key
  }

  #keysOf(
    certificate: Certificate,
    algorithm: SignatureAlgorithm,
  ): ReadonlyMap<SignatureAlgorithm, VerifyingKey | undefined> | undefined {
    const own = this.#keys.get(certificate)
    if (own?.has(algorithm) === true || this.#earlier === undefined) return own
    return this.#earlier.#keysOf(certificate, algorithm)
  }

  /** Whether the issuer's key signed this, by an algorithm of the vendors. */
  isSigned(signed: Signed, issuer: Certificate): boolean {
    const algorithm = this.#signatures.algorithmOf(signed.signatureAlgorithm)
    if (algorithm === undefined) return false
    if (this.#wasSigned(signed, issuer)) return true
    const key = this.keyOf(issuer, algorithm)
    const signature = signatureOf(signed, algorithm)
    if (key === undefined || signature === undefined) return false
    const good = key.verifies(signed.tbs, signature)
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

function signatureOf({ signature }: Signed, algorithm: SignatureAlgorithm): Uint8Array | undefined {
  switch (algorithm) {
    case 'ES256':
      return rawSignature(signature, 32)
    case 'ES384':
      return rawSignature(signature, 48)
    case 'PS384':
      return signature
  }
}
