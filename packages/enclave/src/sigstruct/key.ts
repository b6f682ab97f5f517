import { createPrivateKey, createPublicKey, generateKeyPair, type KeyObject } from 'node:crypto'
import { promisify } from 'node:util'
import { encryptPrivateKey } from './encrypted-pem.ts'
import { SigstructError } from './errors.ts'
import { RSA_SIZE } from './format.ts'
import { createPrivateFile, readPrivateFile, readSecretLine } from './private-file.ts'

/** Checks that a key is one that enclaves can be signed with: RSA, 3072 bits, exponent 3. */
function assertEnclaveKey(key: KeyObject, type: 'private' | 'public'): KeyObject {
  const details = key.asymmetricKeyDetails
  if (key.type !== type || key.asymmetricKeyType !== 'rsa') {
    const seen = `a ${key.type} key of ${key.asymmetricKeyType ?? 'no kind'}`
    throw new SigstructError('KEY', `wanted an RSA ${type} key, seen ${seen}`)
  }
  if (details?.modulusLength !== 3072 || details.publicExponent !== 3n) {
    throw new SigstructError(
      'KEY',
      `wanted 3072 bits and exponent 3, seen ${details?.modulusLength} and ${details?.publicExponent}`,
    )
  }
  return key
}

/** Checks that a private key can sign enclaves. @throws SigstructError with `KEY`. */
export function assertSigningKey(key: KeyObject): KeyObject {
  return assertEnclaveKey(key, 'private')
}

/** Modulus of a signing key or its public key as a SIGSTRUCT stores it: 384 bytes, little-endian. */
export function modulusOf(key: KeyObject): Uint8Array {
  const { n } = (key.type === 'private' ? createPublicKey(key) : key).export({ format: 'jwk' })
  const modulus = Buffer.from(n ?? '', 'base64url')
  if (modulus.length !== RSA_SIZE) throw new SigstructError('KEY', 'wanted a 3072-bit modulus')
  return Uint8Array.from(modulus.reverse())
}

/** How a signing key is kept in a file. */
export interface KeyFileOptions {
  /** File of mode 0600 with the passphrase that the key is encrypted under. */
  readonly passphraseFile?: string
}

/**
 * Makes a key that signs enclave images and writes it to a new file of mode 0600 (PKCS #8, PEM),
 * encrypted where there is a passphrase.
 * @throws SigstructError with `KEY_FILE` when the file exists or cannot be written.
 */
export async function createSigningKey(
  path: string,
  { passphraseFile }: KeyFileOptions = {},
): Promise<KeyObject> {
  const passphrase =
    passphraseFile === undefined ? undefined : await readSecretLine(passphraseFile, 'passphrase')
  const { privateKey } = await promisify(generateKeyPair)('rsa', {
    modulusLength: 3072,
    publicExponent: 3,
  })
  if (passphrase === undefined) {
    await createPrivateFile(path, String(privateKey.export({ type: 'pkcs8', format: 'pem' })))
    return privateKey
  }
  const pkcs8 = privateKey.export({ type: 'pkcs8', format: 'der' })
  try {
    await createPrivateFile(path, await encryptPrivateKey(pkcs8, passphrase))
  } finally {
    pkcs8.fill(0)
    passphrase.fill(0)
  }
  return privateKey
}

/**
 * Reads a signing key from a PEM file.
 * @throws SigstructError with `KEY_FILE` when the file cannot be read or others may read it, `KEY`
 * when it holds no RSA-3072 private key with exponent 3, `PASSPHRASE` when it wants a passphrase, or
 * another one.
 */
export async function readSigningKey(
  path: string,
  { passphraseFile }: KeyFileOptions = {},
): Promise<KeyObject> {
  const pem = await readPrivateFile(path, 'signing key')
  const isEncrypted = pem.includes('ENCRYPTED')
  if (isEncrypted && passphraseFile === undefined) {
    pem.fill(0)
    throw new SigstructError('PASSPHRASE', `${path} is encrypted: its passphrase is wanted`)
  }
  const passphrase =
    passphraseFile === undefined ? undefined : await readSecretLine(passphraseFile, 'passphrase')
  try {
    // Without one, the library would ask for it on the terminal.
    const options = { key: pem, passphrase: Buffer.from(passphrase ?? []) }
    return assertSigningKey(createPrivateKey(options))
  } catch (cause) {
    if (cause instanceof SigstructError) throw cause
    // The library's message may quote the file: it is not passed on.
    if (isEncrypted) throw new SigstructError('PASSPHRASE', `${path} has another passphrase`)
    throw new SigstructError('KEY', `${path} holds no private key in PEM`)
  } finally {
    pem.fill(0)
    passphrase?.fill(0)
  }
}

/**
 * Reads the public key of an enclave signer.
 * @param pem - PEM; of a certificate or private key too, whose public key is taken.
 * @throws SigstructError with `KEY`.
 */
export function parseSignerPublicKey(pem: Uint8Array): KeyObject {
  let key: KeyObject
  try {
    key = createPublicKey(Buffer.from(pem))
  } catch {
    throw new SigstructError('KEY', 'wanted a public key in PEM')
  }
  return assertEnclaveKey(key, 'public')
}
