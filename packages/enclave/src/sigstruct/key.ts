import { createPrivateKey, generateKeyPair, type KeyObject } from 'node:crypto'
import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { dirname } from 'node:path'
import { promisify } from 'node:util'
import { SigstructError } from './errors.ts'

const MAX_KEY_FILE = 65_536

/** Checks that a private key can sign enclaves: RSA, 3072 bits, exponent 3. */
export function assertSigningKey(key: KeyObject): KeyObject {
  const details = key.asymmetricKeyDetails
  if (key.type !== 'private' || key.asymmetricKeyType !== 'rsa') {
    throw new SigstructError('KEY', `wanted an RSA private key, seen ${key.asymmetricKeyType}`)
  }
  if (details?.modulusLength !== 3072 || details.publicExponent !== 3n) {
    throw new SigstructError(
      'KEY',
      `wanted 3072 bits and exponent 3, seen ${details?.modulusLength} and ${details?.publicExponent}`,
    )
  }
  return key
}

/**
 * Makes a key that signs enclave images and writes it to a new file of mode 0600 (PKCS #8, PEM).
 * @throws SigstructError with `KEY_FILE` when the file exists or cannot be written.
 */
export async function createSigningKey(path: string): Promise<KeyObject> {
  const { privateKey } = await promisify(generateKeyPair)('rsa', {
    modulusLength: 3072,
    publicExponent: 3,
  })
  try {
    const file = await open(path, 'wx', 0o600)
    try {
      await file.chmod(0o600)
      await file.writeFile(privateKey.export({ type: 'pkcs8', format: 'pem' }))
      await file.sync()
    } finally {
      await file.close()
    }
    const folder = await open(dirname(path), 'r')
    await folder.sync().finally(() => folder.close())
  } catch (cause) {
    throw new SigstructError('KEY_FILE', `cannot write a new signing key to ${path}`, { cause })
  }
  return privateKey
}

/**
 * Reads a signing key from a PEM file.
 * @throws SigstructError with `KEY_FILE` when the file cannot be read or others may read it, `KEY`
 * when it holds no RSA-3072 private key with exponent 3.
 */
export async function readSigningKey(path: string): Promise<KeyObject> {
  const pem = await readPrivateFile(path)
  try {
    return assertSigningKey(createPrivateKey(pem))
  } catch (cause) {
    if (cause instanceof SigstructError) throw cause
    // The library's message may quote the file: it is not passed on.
    throw new SigstructError('KEY', `${path} holds no private key in PEM`)
  } finally {
    pem.fill(0)
  }
}

async function readPrivateFile(path: string): Promise<Buffer> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOCTTY).catch((cause: unknown) => {
    throw new SigstructError('KEY_FILE', `cannot read the signing key ${path}`, { cause })
  })
  try {
    const stat = await file.stat()
    if (!stat.isFile() || stat.size > MAX_KEY_FILE) {
      throw new SigstructError('KEY_FILE', `${path} is not a key file`)
    }
    if ((stat.mode & 0o077) !== 0) {
      const mode = (stat.mode & 0o777).toString(8)
      throw new SigstructError('KEY_FILE', `${path} has mode ${mode}; run: chmod 600 ${path}`)
    }
    return await file.readFile()
  } finally {
    await file.close()
  }
}
