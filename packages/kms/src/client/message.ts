import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { KmsError } from '../protocol/errors.ts'
import type { Bound } from './data-client.ts'
import type { KmsClient } from './kms-client.ts'

const MAGIC = Buffer.from('CLDM\u0001', 'latin1')
const NONCE = 12
const TAG = 16

/**
 * Encrypts bytes of any length here, under a fresh data key that goes with them, encrypted. What is
 * larger than memory, or is read by range, belongs in a sealed file.
 * @param key - Id of an open key, or `alias/<alias>`
 * @see docs/formats/ciphertext.md
 */
export async function encryptMessage(
  client: Pick<KmsClient, 'generateDataKey'>,
  key: string,
  plaintext: Uint8Array,
  bound: Bound = {},
): Promise<Uint8Array> {
  const made = await client.generateDataKey(key, bound)
  const length = Buffer.alloc(2)
  length.writeUInt16BE(made.ciphertext.length)
  const head = Buffer.concat([MAGIC, length, made.ciphertext])
  const nonce = randomBytes(NONCE)
  const cipher = createCipheriv('aes-256-gcm', made.plaintext, nonce, { authTagLength: TAG })
  made.plaintext.fill(0)
  cipher.setAAD(head)
  const parts = [head, nonce, cipher.update(plaintext), cipher.final()]
  return new Uint8Array(Buffer.concat([...parts, cipher.getAuthTag()]))
}

/**
 * Decrypts what {@link encryptMessage} made, here or in Python.
 * @param options.key - The key that it must be under; without it the message is asked
 * @throws KmsError CIPHERTEXT_INVALID, also for a message that was altered
 */
export async function decryptMessage(
  client: Pick<KmsClient, 'decrypt'>,
  message: Uint8Array,
  options: Bound & { readonly key?: string } = {},
): Promise<Uint8Array> {
  const bytes = Buffer.from(message.buffer, message.byteOffset, message.byteLength)
  const start = MAGIC.length + 2
  const isMessage = bytes.length >= start && bytes.subarray(0, MAGIC.length).equals(MAGIC)
  const end = isMessage ? start + bytes.readUInt16BE(MAGIC.length) : 0
  if (!isMessage || bytes.length < end + NONCE + TAG) {
    throw new KmsError('CIPHERTEXT_INVALID', 'these bytes are no message under a data key')
  }
  const dataKey = await client.decrypt(bytes.subarray(start, end), options)
  const nonce = bytes.subarray(end, end + NONCE)
  const decipher = createDecipheriv('aes-256-gcm', dataKey, nonce, { authTagLength: TAG })
  dataKey.fill(0)
  decipher.setAAD(bytes.subarray(0, end))
  decipher.setAuthTag(bytes.subarray(-TAG))
  const plaintext = decipher.update(bytes.subarray(end + NONCE, -TAG))
  try {
    decipher.final()
    return new Uint8Array(plaintext)
  } catch (cause) {
    plaintext.fill(0)
    throw new KmsError('CIPHERTEXT_INVALID', 'the message was altered', { cause })
  }
}
