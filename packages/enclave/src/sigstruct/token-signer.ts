import { randomBytes } from 'node:crypto'
import {
  assertOk,
  bool,
  bytes,
  CK,
  type Handle,
  type OpenToken,
  type Pin,
  Pkcs11Error,
  ulong,
  withToken,
} from '@cloister/pkcs11'
import { SigstructError } from './errors.ts'
import { RSA_SIZE } from './format.ts'
import { readSecretLine } from './private-file.ts'
import type { EnclaveSigner } from './signer.ts'

const MODULUS_BITS = 3072
const EXPONENT = Uint8Array.of(3)
const KEY_ID_BYTES = 16
/** Bytes in the largest number that a token is asked for. */
const MAX_NUMBER = 2048
/** More than two keys of one label need not be counted. */
const MAX_FOUND = 2

/** A signing key in a PKCS#11 token. */
export interface SigningToken {
  /** The token's library, such as `/usr/lib/softhsm/libsofthsm2.so`. */
  readonly modulePath: string
  readonly tokenLabel: string
  /** CKA_LABEL of the key. */
  readonly keyLabel: string
  /** File of mode 0600 with the user's PIN. */
  readonly pinFile: string
}

/**
 * Makes an RSA-3072 key with exponent 3 in a token, which can sign and never leaves it.
 * @returns Its modulus: 384 bytes, little-endian.
 * @throws SigstructError with `TOKEN`, `KEY_FILE`.
 */
export async function createSigningKeyInToken(where: SigningToken): Promise<Uint8Array> {
  return await usingToken(where, token => {
    if (findKeys(token, CK.CKO_PRIVATE_KEY, where.keyLabel).length > 0) {
      const what = `token "${token.label}" has a private key "${where.keyLabel}" already`
      throw new SigstructError('TOKEN', what)
    }
    generateKeyPair(token, where.keyLabel)
    return readModulus(token, where.keyLabel)
  })
}

/**
 * A signer that has a token sign; the login lasts for one signature.
 * @throws SigstructError with `TOKEN`, `KEY`, `KEY_FILE`.
 */
export async function tokenSigner(where: SigningToken): Promise<EnclaveSigner> {
  return {
    modulus: await usingToken(where, token => readModulus(token, where.keyLabel)),
    sign: data => usingToken(where, token => signInToken(token, where.keyLabel, data)),
  }
}

async function usingToken<T>(where: SigningToken, use: (token: OpenToken) => T): Promise<T> {
  const { modulePath, tokenLabel: label, pinFile } = where
  const secret = await readSecretLine(pinFile, 'PIN')
  const pin: Pin = { with: lend => lend(secret) }
  try {
    return withToken({ modulePath, label, pin }, undefined, use)
  } catch (cause) {
    if (!(cause instanceof Pkcs11Error)) throw cause
    throw new SigstructError('TOKEN', cause.message, { cause })
  } finally {
    secret.fill(0)
  }
}

function generateKeyPair({ cryptoki, session }: OpenToken, label: string): void {
  const named = [
    bytes(CK.CKA_LABEL, Buffer.from(label)),
    bytes(CK.CKA_ID, randomBytes(KEY_ID_BYTES)),
    bool(CK.CKA_TOKEN, true),
  ]
  const publicTemplate = [
    ...named,
    ulong(CK.CKA_MODULUS_BITS, MODULUS_BITS),
    bytes(CK.CKA_PUBLIC_EXPONENT, EXPONENT),
    bool(CK.CKA_VERIFY, true),
    ...[CK.CKA_ENCRYPT, CK.CKA_WRAP].map(use => bool(use, false)),
  ]
  const privateTemplate = [
    ...named,
    bool(CK.CKA_PRIVATE, true),
    bool(CK.CKA_SENSITIVE, true),
    bool(CK.CKA_EXTRACTABLE, false),
    bool(CK.CKA_SIGN, true),
    ...[CK.CKA_DECRYPT, CK.CKA_UNWRAP].map(use => bool(use, false)),
  ]
  const mechanism = mechanismOf(CK.CKM_RSA_PKCS_KEY_PAIR_GEN)
  const made: Handle[][] = [[0], [0]]
  const result = cryptoki.C_GenerateKeyPair(
    ...[session, mechanism, publicTemplate, publicTemplate.length],
    ...[privateTemplate, privateTemplate.length, ...made],
  )
  assertOk('C_GenerateKeyPair', result)
}

const mechanismOf = (mechanism: number) => ({ mechanism, pParameter: null, ulParameterLen: 0 })

function findKeys(
  { cryptoki, session }: OpenToken,
  keyClass: number,
  label: string,
): readonly Handle[] {
  const template = [
    ulong(CK.CKA_CLASS, keyClass),
    ulong(CK.CKA_KEY_TYPE, CK.CKK_RSA),
    bytes(CK.CKA_LABEL, Buffer.from(label)),
  ]
  assertOk('C_FindObjectsInit', cryptoki.C_FindObjectsInit(session, template, template.length))
  const found = Buffer.alloc(8 * MAX_FOUND)
  const count: Handle[] = [0]
  assertOk('C_FindObjects', cryptoki.C_FindObjects(session, found, MAX_FOUND, count))
  assertOk('C_FindObjectsFinal', cryptoki.C_FindObjectsFinal(session))
  return Array.from({ length: Number(count[0]) }, (_, index) => found.readBigUInt64LE(8 * index))
}

function findKey(token: OpenToken, keyClass: number, label: string): Handle {
  const [key, ...others] = findKeys(token, keyClass, label)
  if (key !== undefined && others.length === 0) return key
  const kind = keyClass === CK.CKO_PRIVATE_KEY ? 'private' : 'public'
  const wanted = `token "${token.label}": wanted one ${kind} RSA key "${label}"`
  throw new SigstructError('TOKEN', `${wanted}, seen ${key === undefined ? 'none' : 'more'}`)
}

/** Both halves of an RSA key hold its modulus and exponent (PKCS#11 v2.40, section 2.1.3). */
function readModulus(token: OpenToken, label: string): Uint8Array {
  const key = findKey(token, CK.CKO_PRIVATE_KEY, label)
  const exponent = readOddNumber(token, key, CK.CKA_PUBLIC_EXPONENT)
  const modulus = readOddNumber(token, key, CK.CKA_MODULUS)
  const number = BigInt(`0x${Buffer.from(exponent).toString('hex') || '0'}`)
  if (modulus.length !== RSA_SIZE || number !== 3n) {
    const seen = `${8 * modulus.length} bits and ${number}`
    throw new SigstructError('KEY', `wanted 3072 bits and exponent 3, seen ${seen}`)
  }
  return modulus.reverse()
}

/** An attribute that is an odd number: the zeros after it are what the token did not fill. */
function readOddNumber({ cryptoki, session }: OpenToken, key: Handle, type: number): Uint8Array {
  const asked = bytes(type, new Uint8Array(MAX_NUMBER))
  assertOk('C_GetAttributeValue', cryptoki.C_GetAttributeValue(session, key, [asked], 1))
  const last = asked.pValue.findLastIndex(byte => byte !== 0)
  return asked.pValue.slice(0, last + 1)
}

function signInToken(token: OpenToken, label: string, data: Uint8Array): Uint8Array {
  const { cryptoki, session } = token
  const key = findKey(token, CK.CKO_PRIVATE_KEY, label)
  const mechanism = mechanismOf(CK.CKM_SHA256_RSA_PKCS)
  assertOk('C_SignInit', cryptoki.C_SignInit(session, mechanism, key))
  const signature = new Uint8Array(RSA_SIZE)
  const length: Handle[] = [signature.length]
  assertOk('C_Sign', cryptoki.C_Sign(session, data, data.length, signature, length))
  return signature.subarray(0, Number(length[0]))
}
