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
import { assertSigningKey } from './key.ts'

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

function modulusOf(key: KeyObject): Uint8Array {
  const { n } = key.export({ format: 'jwk' })
  const modulus = Buffer.from(n ?? '', 'base64url')
  if (modulus.length !== RSA_SIZE) throw new SigstructError('KEY', 'wanted a 3072-bit modulus')
  return Uint8Array.from(modulus.reverse())
}

/** MRSIGNER of a signing key or of its public key, 32 bytes. */
export function signingKeyMrSigner(key: KeyObject): Uint8Array {
  const publicKey = key.type === 'private' ? createPublicKey(key) : key
  return mrSignerOf(modulusOf(publicKey))
}

/**
 * Signs an enclave. Deterministic: the same fields under the same key give the same bytes.
 * @param key - RSA-3072 private key with exponent 3.
 * @returns The SIGSTRUCT, 1808 bytes.
 * @throws SigstructError with `KEY`, `FIELD`.
 */
export function signSigstruct(fields: SigstructFields, key: KeyObject): Uint8Array<ArrayBuffer> {
  assertSigningKey(key)
  const modulus = modulusOf(createPublicKey(key))
  const signature = Uint8Array.from(sign('sha256', sigstructSignedBytes(fields), key)).reverse()
  const { q1, q2 } = quotients(fromLittleEndian(signature), fromLittleEndian(modulus))
  const [q1Bytes, q2Bytes] = [toLittleEndian(q1), toLittleEndian(q2)]
  return encodeSigstruct({ ...fields, modulus, signature, q1: q1Bytes, q2: q2Bytes })
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
  if (modulus >> 3071n !== 1n || (modulus & 1n) === 0n) {
    throw new SigstructError('MODULUS', 'wanted an odd modulus of exactly 3072 bits')
  }
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
