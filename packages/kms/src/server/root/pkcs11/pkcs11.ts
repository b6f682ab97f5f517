import { randomBytes } from 'node:crypto'
import { type OpenToken, Pkcs11Error, withToken } from '@cloister/pkcs11'
import { RootKeyError } from '../errors.ts'
import { readPrivateFile } from '../private-file.ts'
import { encodeRootFile, parseRootFile, ROOT_FORMATS } from '../root-file.ts'
import { ROOT_KEY_LENGTH, RootKey } from '../root-key.ts'
import { Secret } from '../secret.ts'
import { findWrappingKey, generateWrappingKey, unwrapInToken, wrapInToken } from './wrapping-key.ts'

const FORMAT = ROOT_FORMATS.pkcs11
const KEY_ID_BYTES = 16
/** Nonce, root key, tag. */
const WRAPPED_BYTES = 12 + ROOT_KEY_LENGTH + 16
const MAX_PIN_BYTES = 256

/** A PKCS#11 token that a key in it wraps the root key for. */
export interface Pkcs11Keeping {
  readonly kind: 'pkcs11'
  /** The token's library, such as `/usr/lib/softhsm/libsofthsm2.so`. */
  readonly modulePath: string
  readonly tokenLabel: string
  /** File of mode 0600 with the user's PIN. */
  readonly pinFile: string
}

const associatedData = (serial: string, keyId: Uint8Array) =>
  Buffer.from(JSON.stringify([FORMAT, serial, Buffer.from(keyId).toString('hex')]))

async function readPin(path: string): Promise<Secret> {
  const bytes = await readPrivateFile(path, MAX_PIN_BYTES)
  if (bytes === undefined) throw new RootKeyError('MISSING', `there is no PIN at ${path}`)
  const end = bytes.at(-1) === 0x0a ? bytes.length - 1 : bytes.length
  const pin = Secret.from(bytes.subarray(0, end))
  bytes.fill(0)
  return pin
}

async function usingToken<T>(
  { modulePath, pinFile, tokenLabel }: Pkcs11Keeping,
  serial: string | undefined,
  use: (token: OpenToken) => T,
): Promise<T> {
  const pin = await readPin(pinFile)
  try {
    return withToken({ modulePath, label: tokenLabel, pin }, serial, use)
  } catch (cause) {
    if (!(cause instanceof Pkcs11Error)) throw cause
    throw new RootKeyError(cause.code, cause.message, { cause })
  } finally {
    pin.dispose()
  }
}

/**
 * Makes a root key, a key in the token that wraps it, and the file that holds it wrapped.
 * @throws RootKeyError MISSING, MODE, TOKEN, WRONG_PIN, PIN_LOCKS, PKCS11
 */
export async function createPkcs11File(
  keeping: Pkcs11Keeping,
): Promise<{ readonly key: RootKey; readonly file: Uint8Array }> {
  return await usingToken(keeping, undefined, token => {
    const keyId = new Uint8Array(randomBytes(KEY_ID_BYTES))
    const fresh = new Uint8Array(randomBytes(ROOT_KEY_LENGTH))
    const wrappingKey = generateWrappingKey(token, keyId)
    const bound = associatedData(token.serial, keyId)
    const wrapped = wrapInToken(token, wrappingKey, fresh, bound)
    const key = RootKey.from(fresh)
    fresh.fill(0)
    const file = encodeRootFile({
      format: FORMAT,
      serial: token.serial,
      keyId: Buffer.from(keyId).toString('hex'),
      wrapped: Buffer.from(wrapped).toString('base64url'),
    })
    return { key, file }
  })
}

/**
 * Has the token unwrap the root key of an existing file.
 * @throws RootKeyError PARAMETERS, MISSING, MODE, TOKEN, TOKEN_KEY, WRONG_PIN, PIN_LOCKS, UNWRAP, PKCS11
 */
export async function unlockPkcs11File(file: Uint8Array, keeping: Pkcs11Keeping): Promise<RootKey> {
  const { keyId, serial, wrapped } = parse(file)
  return await usingToken(keeping, serial, token => {
    const wrappingKey = findWrappingKey(token, keyId)
    const bytes = unwrapInToken(token, wrappingKey, wrapped, associatedData(serial, keyId))
    const key = RootKey.from(bytes)
    bytes.fill(0)
    return key
  })
}

function parse(file: Uint8Array) {
  const { format, keyId, serial, wrapped } = parseRootFile(file)
  const bytes = typeof wrapped === 'string' ? Buffer.from(wrapped, 'base64url') : undefined
  const isOurs =
    format === FORMAT &&
    typeof serial === 'string' &&
    typeof keyId === 'string' &&
    /^[0-9a-f]{32}$/.test(keyId) &&
    bytes?.length === WRAPPED_BYTES &&
    bytes.toString('base64url') === wrapped
  if (!isOurs) {
    throw new RootKeyError('PARAMETERS', `wanted format ${FORMAT}, serial, keyId and wrapped`)
  }
  return {
    serial,
    keyId: new Uint8Array(Buffer.from(keyId, 'hex')),
    wrapped: new Uint8Array(bytes),
  }
}
