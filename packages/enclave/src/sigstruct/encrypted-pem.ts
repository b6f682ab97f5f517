import { createCipheriv, pbkdf2, randomBytes } from 'node:crypto'
import { promisify } from 'node:util'

const SALT_BYTES = 16
const IV_BYTES = 16
const KEY_BYTES = 32

/** Rounds for a passphrase, as OWASP advises for HMAC-SHA-256; Node itself would write 2048. */
const ROUNDS = 600_000

// RFC 8018, appendix C: PBES2, PBKDF2, HMAC with SHA-256, AES-256-CBC; tag and length included.
const PBES2 = Buffer.from('06092a864886f70d01050d', 'hex')
const PBKDF2 = Buffer.from('06092a864886f70d01050c', 'hex')
const HMAC_SHA256 = Buffer.from('06082a864886f70d0209', 'hex')
const AES256_CBC = Buffer.from('060960864801650304012a', 'hex')
const NULL = Buffer.from('0500', 'hex')

function tlv(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts)
  if (content.length < 0x80) return Buffer.concat([Buffer.of(tag, content.length), content])
  const length = Buffer.from(content.length.toString(16).padStart(4, '0'), 'hex')
  return Buffer.concat([Buffer.of(tag, 0x80 | length.length), length, content])
}

const sequence = (...parts: readonly Uint8Array[]) => tlv(0x30, ...parts)
const octets = (content: Uint8Array) => tlv(0x04, content)

/** A positive INTEGER below 2^31. */
function integer(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  const from = bytes.findIndex((byte, index) => byte !== 0 || index === 3)
  const rest = bytes.subarray(from)
  return tlv(0x02, (rest[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.of(0), rest]) : rest)
}

/**
 * Encrypts a private key under a passphrase: PKCS #8 EncryptedPrivateKeyInfo, PBES2 with PBKDF2 of
 * 600,000 rounds and AES-256-CBC. OpenSSL and what builds on it read it.
 * @param pkcs8 - PrivateKeyInfo in DER.
 * @param passphrase - As bytes.
 * @returns PEM.
 * @see RFC 5958, section 3; RFC 8018, section 6.2
 */
export async function encryptPrivateKey(
  pkcs8: Uint8Array,
  passphrase: Uint8Array,
): Promise<string> {
  const [salt, iv] = [randomBytes(SALT_BYTES), randomBytes(IV_BYTES)]
  const key = await promisify(pbkdf2)(passphrase, salt, ROUNDS, KEY_BYTES, 'sha256')
  const cipher = createCipheriv('aes-256-cbc', key, iv)
  const encrypted = Buffer.concat([cipher.update(pkcs8), cipher.final()])
  key.fill(0)
  const derivation = sequence(
    PBKDF2,
    sequence(octets(salt), integer(ROUNDS), integer(KEY_BYTES), sequence(HMAC_SHA256, NULL)),
  )
  const scheme = sequence(PBES2, sequence(derivation, sequence(AES256_CBC, octets(iv))))
  const der = sequence(scheme, octets(encrypted))
  const lines = der.toString('base64').replace(/(.{64})(?=.)/g, '$1\n')
  return `-----BEGIN ENCRYPTED PRIVATE KEY-----\n${lines}\n-----END ENCRYPTED PRIVATE KEY-----\n`
}
