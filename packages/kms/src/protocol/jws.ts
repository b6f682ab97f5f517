import type { KeyObject } from 'node:crypto'
import {
  CompactEncrypt,
  CompactSign,
  compactDecrypt,
  compactVerify,
  decodeProtectedHeader,
} from 'jose'
import { canonicalJson } from './encoding.ts'
import { KmsError } from './errors.ts'
import { encodePublicKey, jwkOfKey, keyOfJwk } from './public-key.ts'

/** Types of the signed messages: a signature over one is none over another. */
export const JWS_TYPES = {
  release: 'cloister-release+jws',
  released: 'cloister-released+jws',
  heads: 'cloister-heads+jws',
  headsMoved: 'cloister-heads-moved+jws',
  logKey: 'cloister-log-key+jws',
} as const

/** Type of a signed message. */
export type JwsType = (typeof JWS_TYPES)[keyof typeof JWS_TYPES]

/** Signs a payload as canonical JSON with ES256, the signer's public key in the header. */
export async function signJws(type: JwsType, payload: object, key: KeyObject): Promise<string> {
  return new CompactSign(new TextEncoder().encode(canonicalJson(payload)))
    .setProtectedHeader({ alg: 'ES256', typ: type, jwk: jwkOfKey(key) })
    .sign(key)
}

/** What a signed message said, and who signed it. */
export interface VerifiedJws {
  /** Not yet checked against any schema. */
  readonly payload: unknown
  /** SubjectPublicKeyInfo of the key that signed, base64url. */
  readonly signKey: string
}

/**
 * Verifies a signed message by the key in its own header. Whether that key may speak is for the
 * caller to decide.
 * @throws KmsError MALFORMED when it is no such message, TOKEN_KEY when the signature is false
 */
export async function verifyJws(type: JwsType, jws: string): Promise<VerifiedJws> {
  const key = signerOf(type, jws)
  let bytes: Uint8Array
  try {
    bytes = (await compactVerify(jws, key, { algorithms: ['ES256'] })).payload
  } catch (cause) {
    throw new KmsError('TOKEN_KEY', `${type}: the signature does not verify`, { cause })
  }
  return { payload: parseCanonical(type, bytes), signKey: encodePublicKey(key) }
}

function signerOf(type: JwsType, jws: string): KeyObject {
  try {
    const { alg, typ, jwk, ...others } = decodeProtectedHeader(jws)
    if (alg !== 'ES256' || typ !== type || Object.keys(others).length > 0) {
      throw new KmsError('MALFORMED', `wanted type ${type}, saw ${String(typ)} with ${String(alg)}`)
    }
    return keyOfJwk(`${type}: the key in the header`, jwk)
  } catch (error) {
    if (error instanceof KmsError) throw error
    throw new KmsError('MALFORMED', `${type}: not a signed message`, { cause: error })
  }
}

/** Canonical JSON has no duplicate members and one spelling, so nobody reads it differently. */
function parseCanonical(what: string, bytes: Uint8Array): unknown {
  let value: unknown
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
    value = JSON.parse(text)
  } catch (cause) {
    throw new KmsError('MALFORMED', `${what}: the payload is not JSON`, { cause })
  }
  if (canonicalJson(value) !== text) {
    throw new KmsError('MALFORMED', `${what}: the payload is not canonical JSON`)
  }
  return value
}

/** Encrypts a value to a P-256 key: ECDH-ES and A256GCM, as a compact JWE. */
export async function encryptTo(receiveKey: KeyObject, value: object): Promise<string> {
  const plaintext = new TextEncoder().encode(canonicalJson(value))
  try {
    return await new CompactEncrypt(plaintext)
      .setProtectedHeader({ alg: 'ECDH-ES', enc: 'A256GCM' })
      .encrypt(receiveKey)
  } finally {
    plaintext.fill(0)
  }
}

/**
 * Decrypts what {@link encryptTo} made.
 * @throws KmsError MALFORMED
 */
export async function decryptWith(receiveKey: KeyObject, jwe: string): Promise<unknown> {
  let plaintext: Uint8Array
  try {
    const options = {
      keyManagementAlgorithms: ['ECDH-ES'],
      contentEncryptionAlgorithms: ['A256GCM'],
    }
    plaintext = (await compactDecrypt(jwe, receiveKey, options)).plaintext
  } catch (cause) {
    throw new KmsError('MALFORMED', 'the released keys are not for this instance', { cause })
  }
  try {
    return parseCanonical('released keys', plaintext)
  } finally {
    plaintext.fill(0)
  }
}
