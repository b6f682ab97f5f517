import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto'
import { type ECDSA, ecdsa, weierstrass } from '@noble/curves/abstract/weierstrass.js'
import { p256, p384, p521 } from '@noble/curves/nist.js'
import { secp256k1 } from '@noble/curves/secp256k1.js'
import { sha224 } from '@noble/hashes/sha2.js'
import { digestOf, type ToSign } from './digest.ts'
import type { EcSpec } from './key-spec.ts'

/** @see SEC 2 version 2.0, section 2.3.2 (secp224r1) */
const P224 = weierstrass({
  p: 0xffffffffffffffffffffffffffffffff000000000000000000000001n,
  a: 0xfffffffffffffffffffffffffffffffefffffffffffffffffffffffen,
  b: 0xb4050a850c04b3abf54132565044b0b7d7bfd8ba270b39432355ffb4n,
  n: 0xffffffffffffffffffffffffffff16a2e0b8f03e13dd29455c5c2a3dn,
  h: 1n,
  Gx: 0xb70e0cbd6bb4bf7f321390b94a03c1d356c21122343280d6115c1d21n,
  Gy: 0xbd376388b5f723fb4c22dfe6cd4375a05a07476444d5819985007e34n,
})

const CURVES: Readonly<Record<EcSpec, ECDSA>> = {
  EC_P224: ecdsa(P224, sha224),
  EC_P256: p256,
  EC_P256K: secp256k1,
  EC_P384: p384,
  EC_P521: p521,
}

/** A digest is signed as it stands; both halves of s are taken, as everyone else's signers give. */
const AS_DIGEST = { prehash: false, lowS: false, format: 'der' } as const

/** The public half, PEM of SubjectPublicKeyInfo. */
export function ecPublicPem(sec1: Uint8Array): string {
  return createPublicKey(privateKeyOf(sec1)).export({ type: 'spki', format: 'pem' }).toString()
}

/** ECDSA; the signature is DER. @throws CryptoError LENGTH of a digest */
export function ecSign(spec: EcSpec, sec1: Uint8Array, toSign: ToSign): Uint8Array {
  // Node signs messages only, not digests that were made elsewhere.
  if (toSign.kind === 'raw') {
    return new Uint8Array(sign(toSign.digest, toSign.bytes, privateKeyOf(sec1)))
  }
  const scalar = scalarOf(sec1)
  try {
    return CURVES[spec].sign(digestOf(toSign), scalar, { ...AS_DIGEST, extraEntropy: true })
  } finally {
    scalar.fill(0)
  }
}

/** Whether a DER signature is of a key. @throws CryptoError LENGTH of a digest */
export function ecVerify(
  spec: EcSpec,
  sec1: Uint8Array,
  toSign: ToSign,
  signature: Uint8Array,
): boolean {
  const key = createPublicKey(privateKeyOf(sec1))
  if (toSign.kind === 'raw') return verify(toSign.digest, toSign.bytes, key, signature)
  const digest = digestOf(toSign)
  const spki = key.export({ type: 'spki', format: 'der' })
  const point = spki.subarray(-pointLength(spec))
  try {
    return CURVES[spec].verify(signature, digest, point, AS_DIGEST)
  } catch {
    // What is no DER of two integers is no signature.
    return false
  }
}

/** Length of an uncompressed point: 04 and two coordinates. */
function pointLength(spec: EcSpec): number {
  return 1 + 2 * CURVES[spec].Point.Fp.BYTES
}

function privateKeyOf(sec1: Uint8Array): KeyObject {
  return createPrivateKey({ key: Buffer.from(sec1), format: 'der', type: 'sec1' })
}

/**
 * The private scalar of an ECPrivateKey that node:crypto wrote: SEQUENCE, version (3 bytes), OCTET
 * STRING. @see RFC 5915, section 3
 */
function scalarOf(sec1: Uint8Array): Uint8Array {
  const form = sec1[1] ?? 0
  const octetsAt = 2 + (form & 0x80 ? form & 0x7f : 0) + 3
  const length = sec1[octetsAt + 1] ?? 0
  return Uint8Array.from(sec1.subarray(octetsAt + 2, octetsAt + 2 + length))
}
