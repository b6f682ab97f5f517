import {
  constants,
  createPublicKey,
  privateDecrypt,
  publicEncrypt,
  sign,
  timingSafeEqual,
  verify,
} from 'node:crypto'
import { type DigestName, digestOf, type ToSign } from './digest.ts'
import { CryptoError } from './errors.ts'
import { encodePss, isPssOf } from './pss.ts'
import { rsaPrivateKey } from './rsa.ts'

/** How RSA signatures pad. PSS is with a salt as long as the digest, and the digest for MGF1. */
export type RsaSignaturePadding = 'pkcs1' | 'pss'

/** DER of DigestInfo up to the digest itself. @see RFC 8017, section 9.2; GM/T 0006 for SM3 */
const DIGEST_INFO: Readonly<Record<DigestName, string>> = {
  sha224: '302d300d06096086480165030402040500041c',
  sha256: '3031300d060960864801650304020105000420',
  sha384: '3041300d060960864801650304020205000430',
  sha512: '3051300d060960864801650304020305000440',
  sm3: '3030300c06082a811ccf5501831105000420',
}

/** Signs. @throws CryptoError LENGTH where a digest is not as long as its kind has it */
export function rsaSign(
  pkcs8: Uint8Array,
  padding: RsaSignaturePadding,
  toSign: ToSign,
): Uint8Array {
  const key = rsaPrivateKey(pkcs8)
  // Node signs messages only; SM3 it does not know with RSA at all.
  if (toSign.kind === 'raw' && toSign.digest !== 'sm3') {
    return new Uint8Array(sign(toSign.digest, toSign.bytes, { key, ...optionsOf(padding) }))
  }
  const modulusBits = key.asymmetricKeyDetails?.modulusLength ?? 0
  const block = blockOf(padding, digestOf(toSign), toSign.digest, modulusBits)
  return new Uint8Array(privateDecrypt({ key, padding: constants.RSA_NO_PADDING }, block))
}

/** Whether a signature is of a key. @throws CryptoError LENGTH, also of a wrong signature's length */
export function rsaVerify(
  pkcs8: Uint8Array,
  padding: RsaSignaturePadding,
  toSign: ToSign,
  signature: Uint8Array,
): boolean {
  const key = createPublicKey(rsaPrivateKey(pkcs8))
  const modulusBits = key.asymmetricKeyDetails?.modulusLength ?? 0
  if (signature.length !== modulusBits / 8) {
    const seen = `seen ${signature.length}`
    throw new CryptoError('LENGTH', `a signature: wanted ${modulusBits / 8} bytes, ${seen}`)
  }
  if (toSign.kind === 'raw' && toSign.digest !== 'sm3') {
    return verify(toSign.digest, toSign.bytes, { key, ...optionsOf(padding) }, signature)
  }
  const digest = digestOf(toSign)
  const block = opened(key, signature)
  if (block === undefined) return false
  if (padding === 'pss') return isPssOf(block, digest, toSign.digest)
  return timingSafeEqual(block, blockOf(padding, digest, toSign.digest, modulusBits))
}

/** The public operation; undefined where the signature is a number beyond the modulus. */
function opened(key: ReturnType<typeof createPublicKey>, signature: Uint8Array) {
  try {
    return publicEncrypt({ key, padding: constants.RSA_NO_PADDING }, signature)
  } catch {
    return undefined
  }
}

function optionsOf(padding: RsaSignaturePadding) {
  return padding === 'pkcs1'
    ? { padding: constants.RSA_PKCS1_PADDING }
    : { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST }
}

function blockOf(
  padding: RsaSignaturePadding,
  digest: Uint8Array,
  name: DigestName,
  modulusBits: number,
): Uint8Array {
  if (padding === 'pss') return encodePss(digest, name, modulusBits)
  const info = Buffer.concat([Buffer.from(DIGEST_INFO[name], 'hex'), digest])
  const fill = Buffer.alloc(modulusBits / 8 - info.length - 3, 0xff)
  return Buffer.concat([Uint8Array.of(0, 1), fill, Uint8Array.of(0), info])
}
