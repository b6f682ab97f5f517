import { readPublicKey } from '../public-key.ts'
import { jwkOfSpki, spkiOfJwk } from '../spki.ts'
import { isObject, type Members, malformed, requireMembers } from './members.ts'

/** The key that a token is for, of its `cnf`: SubjectPublicKeyInfo, DER. */
export function instanceKeyOf(cnf: unknown): Uint8Array {
  if (!isObject(cnf)) throw malformed('cnf')
  requireMembers('cnf', cnf, ['jwk'])
  const { jwk } = cnf
  const spki = isObject(jwk) ? spkiOfJwk(jwk) : undefined
  if (spki === undefined) throw malformed('jwk')
  requireInstanceKey(spki)
  return spki
}

/** A public key as a JWK. */
export function jwkOf(spki: Uint8Array): Members {
  requireInstanceKey(spki)
  return { ...jwkOfSpki(spki) }
}

function requireInstanceKey(spki: Uint8Array): void {
  if (readPublicKey(spki, ['P-256', 'Ed25519']) === undefined) throw malformed('jwk')
}
