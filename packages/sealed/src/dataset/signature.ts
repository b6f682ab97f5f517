import { type KeyObject, verify } from 'node:crypto'
import type { Brand } from '../header.ts'
import { decodeBase64url } from './base64url.ts'
import { mismatch } from './errors.ts'
import {
  encodeManifest,
  MAX_MANIFEST_SIZE,
  type Manifest,
  type ManifestDigest,
  manifestDigest,
  parseManifest,
} from './manifest.ts'
import { importWriterKey, type WriterKeyId, writerKeyId } from './writer-key.ts'

// The one protected header that is written and accepted, byte for byte.
const PROTECTED = Buffer.from('{"alg":"ES256","typ":"cloister-manifest+jws"}').toString('base64url')
const SIGNATURE_LENGTH = 64

/** Signs bytes with ECDSA on P-256 and SHA-256; returns r and s, 32 bytes each, big-endian. */
export type SignManifest = (bytes: Uint8Array) => Promise<Uint8Array> | Uint8Array

/** A manifest that the holder of a key signed. Only {@link verifyManifest} makes one. */
export type VerifiedManifest = Brand<
  {
    readonly manifest: Manifest
    readonly digest: ManifestDigest
    readonly writerKeyId: WriterKeyId
  },
  'VerifiedManifest'
>

function assertSize(size: number): void {
  if (size > MAX_MANIFEST_SIZE) {
    throw mismatch('LIMIT', 'signed manifest', `at most ${MAX_MANIFEST_SIZE} bytes`, size)
  }
}

/**
 * Signs a manifest as a compact JWS (RFC 7515, ES256).
 * @throws DatasetError `MANIFEST_FORMAT`, `LIMIT`, or `SIGNATURE` if `sign` gives no 64 bytes
 */
export async function signManifest(manifest: Manifest, sign: SignManifest): Promise<string> {
  const payload = Buffer.from(encodeManifest(manifest)).toString('base64url')
  const signingInput = `${PROTECTED}.${payload}`
  assertSize(signingInput.length + 1 + Math.ceil((SIGNATURE_LENGTH * 4) / 3))
  const signature = await sign(new TextEncoder().encode(signingInput))
  if (signature.length !== SIGNATURE_LENGTH) {
    throw mismatch('SIGNATURE', 'signature bytes', SIGNATURE_LENGTH, signature.length)
  }
  return `${signingInput}.${Buffer.from(signature).toString('base64url')}`
}

function splitJws(jws: string) {
  assertSize(jws.length)
  const [header, body, tail, ...rest] = jws.split('.', 4)
  if (header === undefined || body === undefined || tail === undefined || rest.length > 0) {
    const count = jws.split('.', 4).length
    throw mismatch('MANIFEST_FORMAT', 'compact JWS', '3 fields', count)
  }
  if (header !== PROTECTED) {
    throw mismatch('MANIFEST_FORMAT', 'protected header', PROTECTED, header)
  }
  const payload = decodeBase64url(body)
  const signature = decodeBase64url(tail)
  if (payload === undefined || signature === undefined) {
    throw mismatch('MANIFEST_FORMAT', 'compact JWS', 'strict base64url', 'another encoding')
  }
  if (signature.length !== SIGNATURE_LENGTH) {
    throw mismatch('SIGNATURE', 'signature bytes', SIGNATURE_LENGTH, signature.length)
  }
  return { signingInput: Buffer.from(`${header}.${body}`, 'latin1'), payload, signature }
}

function assertSignature(
  key: KeyObject,
  keyId: WriterKeyId,
  signingInput: Uint8Array,
  signature: Uint8Array,
): void {
  if (!verify('sha256', signingInput, { key, dsaEncoding: 'ieee-p1363' }, signature)) {
    const seen = 'one that does not verify'
    throw mismatch('SIGNATURE', 'manifest signature', `one by writer key ${keyId}`, seen)
  }
}

/**
 * Verifies a signed manifest, then parses it. Says nothing of how fresh it is.
 * @param jws - Compact JWS, at most 64 MiB, nothing before or after it.
 * @param writerKey - SPKI DER of the writer's P-256 key.
 * @throws DatasetError `WRITER_KEY`, `SIGNATURE`, `MANIFEST_FORMAT` or `LIMIT`
 */
export function verifyManifest(jws: string, writerKey: Uint8Array): VerifiedManifest {
  const key = importWriterKey(writerKey)
  const keyId = writerKeyId(writerKey)
  const { signingInput, payload, signature } = splitJws(jws)
  assertSignature(key, keyId, signingInput, signature)
  const manifest = parseManifest(payload)
  return { manifest, digest: manifestDigest(payload), writerKeyId: keyId } as VerifiedManifest
}
