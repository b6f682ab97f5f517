import { createHash, createPublicKey, type KeyObject, sign, verify } from 'node:crypto'
import { SigstructError } from './errors.ts'
import {
  encodeSigstruct,
  parseSigstruct,
  RSA_SIZE,
  type Sigstruct,
  type SigstructFields,
  sigstructSignedBytes,
} from './format.ts'
import { assertSigningKey, modulusOf } from './key.ts'
import type { EnclaveSigner } from './signer.ts'

declare const brand: unique symbol

/** A SIGSTRUCT whose signature and quotients were checked. Only {@link verifySigstruct} makes one. */
export type VerifiedSigstruct = Sigstruct & {
  readonly [brand]: 'VerifiedSigstruct'
  /** SHA-256 of the modulus as stored, 32 bytes. */
  readonly mrSigner: Uint8Array
}

function fromLittleEndian(bytes: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(bytes).reverse().toString('hex')}`)
}

function toLittleEndian(value: bigint): Uint8Array {
  const bytes = Buffer.from(value.toString(16).padStart(2 * RSA_SIZE, '0'), 'hex')
  return Uint8Array.from(bytes.reverse())
}

/** The quotients that let the processor verify without dividing: SDM volume 3D, section 39.1.3. */
function quotients(
  signature: bigint,
  modulus: bigint,
): { readonly q1: bigint; readonly q2: bigint } {
  const square = signature * signature
  const q1 = square / modulus
  const q2 = (square * signature - q1 * signature * modulus) / modulus
  return { q1, q2 }
}

/** MRSIGNER of a modulus as a SIGSTRUCT stores it: 384 bytes, little-endian. */
export function mrSignerOf(modulus: Uint8Array): Uint8Array {
  return new Uint8Array(createHash('sha256').update(modulus).digest())
}

/** MRSIGNER of a signing key or of its public key, 32 bytes. */
export function signingKeyMrSigner(key: KeyObject): Uint8Array {
  return mrSignerOf(modulusOf(key))
}

/**
 * Signs an enclave. Deterministic: the same fields under the same key give the same bytes.
 * @param key - RSA-3072 private key with exponent 3.
 * @returns The SIGSTRUCT, 1808 bytes.
 * @throws SigstructError with `KEY`, `FIELD`.
 */
export function signSigstruct(fields: SigstructFields, key: KeyObject): Uint8Array<ArrayBuffer> {
  assertSigningKey(key)
  const signature = sign('sha256', sigstructSignedBytes(fields), key)
  return attachSignature(fields, modulusOf(key), signature)
}

/**
 * Has an enclave signed by whoever holds the key. What comes back is verified before it is given.
 * @returns The SIGSTRUCT, 1808 bytes.
 * @throws SigstructError with `FIELD`, or `SIGNATURE` when the signer signed with another key.
 */
export async function signSigstructBy(
  fields: SigstructFields,
  signer: EnclaveSigner,
): Promise<Uint8Array<ArrayBuffer>> {
  const signature = await signer.sign(sigstructSignedBytes(fields))
  return attachSignature(fields, signer.modulus, signature)
}

/**
 * Makes a SIGSTRUCT of what was signed elsewhere: computes both quotients and verifies the whole.
 * @param fields - What `sigstructSignedBytes` was given.
 * @param modulus - The signer's, 384 bytes, little-endian; see `modulusOf`.
 * @param signature - RSASSA-PKCS1-v1_5 with SHA-256 over the signed bytes, as OpenSSL and PKCS#11
 * tokens give it: 384 bytes, big-endian.
 * @returns The SIGSTRUCT, 1808 bytes.
 * @throws SigstructError with `FIELD`, `MODULUS`, `SIGNATURE`.
 */
export function attachSignature(
  fields: SigstructFields,
  modulus: Uint8Array,
  signature: Uint8Array,
): Uint8Array<ArrayBuffer> {
  if (signature.length !== RSA_SIZE) {
    const seen = `${signature.length} bytes`
    throw new SigstructError('SIGNATURE', `wanted a signature of ${RSA_SIZE} bytes, seen ${seen}`)
  }
  const n = fromLittleEndian(modulus)
  assertModulus(n)
  const littleEndian = Uint8Array.from(signature).reverse()
  const s = fromLittleEndian(littleEndian)
  if (s >= n) throw new SigstructError('SIGNATURE', 'the signature is not below its modulus')
  const { q1, q2 } = quotients(s, n)
  const [q1Bytes, q2Bytes] = [toLittleEndian(q1), toLittleEndian(q2)]
  const signed = { ...fields, modulus, signature: littleEndian, q1: q1Bytes, q2: q2Bytes }
  const bytes = encodeSigstruct(signed)
  verifySigstruct(bytes)
  return bytes
}

function assertModulus(modulus: bigint): void {
  if (modulus >> 3071n !== 1n || (modulus & 1n) === 0n) {
    throw new SigstructError('MODULUS', 'wanted an odd modulus of exactly 3072 bits')
  }
}

function verifySignature(sigstruct: Sigstruct): void {
  const key = createPublicKey({
    format: 'jwk',
    key: {
      kty: 'RSA',
      n: Buffer.from(sigstruct.modulus).reverse().toString('base64url'),
      e: 'Aw',
    },
  })
  const signature = Uint8Array.from(sigstruct.signature).reverse()
  if (!verify('sha256', sigstructSignedBytes(sigstruct), key, signature)) {
    throw new SigstructError('SIGNATURE', 'the signature does not verify under its own modulus')
  }
}

/**
 * Reads and verifies a SIGSTRUCT in full: format, RSA signature, both quotients. Who signed is in
 * `mrSigner`: compare it with the signer you trust.
 * @param bytes - 1808 bytes.
 * @throws SigstructError
 */
export function verifySigstruct(bytes: Uint8Array): VerifiedSigstruct {
  const sigstruct = parseSigstruct(bytes)
  const modulus = fromLittleEndian(sigstruct.modulus)
  assertModulus(modulus)
  verifySignature(sigstruct)
  const { q1, q2 } = quotients(fromLittleEndian(sigstruct.signature), modulus)
  if (fromLittleEndian(sigstruct.q1) !== q1) {
    throw new SigstructError('Q1', 'Q1 is not what signature and modulus give')
  }
  if (fromLittleEndian(sigstruct.q2) !== q2) {
    throw new SigstructError('Q2', 'Q2 is not what signature and modulus give')
  }
  return { ...sigstruct, mrSigner: mrSignerOf(sigstruct.modulus) } as VerifiedSigstruct
}
