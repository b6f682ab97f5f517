import { canonicalJson, encodeLengthPrefixed } from './encoding.ts'
import { KmsError } from './errors.ts'
import { MAX_CONTEXT } from './messages/keys.ts'

const MAGIC = Buffer.from('CLKC', 'ascii')
const LABEL = Buffer.from('cloister kms v1 ciphertext', 'ascii')

/** Bytes before what the key version encrypted. @see docs/formats/ciphertext.md */
const HEADER_LENGTH = 24

/** A ciphertext of a symmetric key, taken apart; nothing in it is authenticated yet. */
export interface Ciphertext {
  /** UUID. */
  readonly keyId: string
  readonly keyVersion: number
  /** What the key version gave: format version 1, nonce (12), ciphertext, tag (16). */
  readonly sealed: Uint8Array
}

/** Values bound into a ciphertext: no secrets, and needed again to decrypt. */
export type EncryptionContext = Readonly<Record<string, string>>

/** Magic, key id and key version: what stands in clear before the encrypted bytes. */
function encodeHeader({ keyId, keyVersion }: Omit<Ciphertext, 'sealed'>): Uint8Array {
  const header = Buffer.alloc(HEADER_LENGTH)
  MAGIC.copy(header)
  header.write(keyId.replaceAll('-', ''), MAGIC.length, 'hex')
  header.writeUInt32BE(keyVersion, MAGIC.length + 16)
  return header
}

/** A ciphertext's bytes. */
export function encodeCiphertext(ciphertext: Ciphertext): Uint8Array {
  return new Uint8Array(Buffer.concat([encodeHeader(ciphertext), ciphertext.sealed]))
}

/**
 * Takes a ciphertext apart.
 * @throws KmsError CIPHERTEXT_INVALID
 */
export function parseCiphertext(bytes: Uint8Array): Ciphertext {
  const header = Buffer.from(bytes.subarray(0, HEADER_LENGTH))
  if (header.length < HEADER_LENGTH || !header.subarray(0, MAGIC.length).equals(MAGIC)) {
    throw new KmsError('CIPHERTEXT_INVALID', 'these bytes are no ciphertext of a symmetric key')
  }
  const hex = header.toString('hex', MAGIC.length, MAGIC.length + 16)
  const keyId = hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
  const keyVersion = header.readUInt32BE(MAGIC.length + 16)
  return { keyId, keyVersion, sealed: bytes.subarray(HEADER_LENGTH) }
}

/**
 * What a ciphertext is bound to: its header, and the encryption context as RFC 8785 JSON.
 * @throws KmsError MALFORMED when the context is no well-formed Unicode, or too long
 */
export function encodeCiphertextContext(
  place: Omit<Ciphertext, 'sealed'>,
  context: EncryptionContext,
): Uint8Array {
  const text = new TextEncoder().encode(canonicalJson(context))
  if (text.length > MAX_CONTEXT) {
    throw new KmsError('MALFORMED', `an encryption context has at most ${MAX_CONTEXT} bytes`)
  }
  return encodeLengthPrefixed([LABEL, encodeHeader(place), text])
}
