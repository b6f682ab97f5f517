import { createHash, createPublicKey, type KeyObject } from 'node:crypto'
import type { Brand } from '../header.ts'
import { decodeBase64url } from './base64url.ts'
import { DatasetError, mismatch } from './errors.ts'

/** Identifies a writer's key: the SHA-256 of its SPKI, 64 lower-case hexadecimal digits. */
export type WriterKeyId = Brand<string, 'WriterKeyId'>

// RFC 5480 section 2: id-ecPublicKey on secp256r1, then an uncompressed point. Only this encoding
// is taken, so that a key has one id.
const SPKI_PREFIX = Buffer.from('3059301306072a8648ce3d020106082a8648ce3d03010703420004', 'hex')
const SPKI_LENGTH = 91

/** Imports a P-256 public key from its SPKI DER. Throws `WRITER_KEY`. */
export function importWriterKey(spki: Uint8Array): KeyObject {
  const bytes = Buffer.from(spki)
  if (bytes.length !== SPKI_LENGTH || !bytes.subarray(0, SPKI_PREFIX.length).equals(SPKI_PREFIX)) {
    const wanted = `the SPKI of an uncompressed P-256 key in ${SPKI_LENGTH} bytes`
    throw mismatch('WRITER_KEY', 'writer key', wanted, `${bytes.length} other bytes`)
  }
  try {
    return createPublicKey({ key: bytes, format: 'der', type: 'spki' })
  } catch (cause) {
    throw mismatch('WRITER_KEY', 'writer key', 'a point on P-256', 'another point', { cause })
  }
}

/** Returns the id of a writer's key, given as SPKI DER. */
export function writerKeyId(spki: Uint8Array): WriterKeyId {
  return createHash('sha256').update(spki).digest('hex') as WriterKeyId
}

/** Encodes a writer's SPKI DER as base64url, after checking it. Throws `WRITER_KEY`. */
export function encodeWriterKey(spki: Uint8Array): string {
  importWriterKey(spki)
  return Buffer.from(spki).toString('base64url')
}

/** Decodes a writer's key from base64url to SPKI DER, and checks it. Throws `WRITER_KEY`. */
export function parseWriterKey(text: string): Uint8Array {
  const spki = decodeBase64url(text)
  if (spki === undefined) throw new DatasetError('WRITER_KEY', 'a writer key is base64url')
  importWriterKey(spki)
  return spki
}
