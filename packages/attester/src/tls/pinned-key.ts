import { createHash, type X509Certificate } from 'node:crypto'
import { AttestedTlsError } from '../errors.ts'

/**
 * Asserts that the server proved to have one of the keys that are meant.
 * @param keys - SHA-256 over each key's SubjectPublicKeyInfo, 32 bytes each.
 * @throws AttestedTlsError BINDING
 */
export function assertKeyIsPinned(
  { publicKey }: X509Certificate,
  keys: readonly Uint8Array[],
): void {
  const spki = publicKey.export({ format: 'der', type: 'spki' })
  const seen = createHash('sha256').update(spki).digest()
  if (keys.some(key => seen.equals(key))) return
  const wanted = keys.map(key => Buffer.from(key).toString('hex')).join(' or ') || 'none'
  throw new AttestedTlsError(
    'BINDING',
    `wanted a server with key ${wanted}, seen ${seen.toString('hex')}`,
  )
}
