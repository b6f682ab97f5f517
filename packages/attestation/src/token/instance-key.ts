import { createPublicKey } from 'node:crypto'
import { readPublicKey } from '../public-key.ts'
import { TokenError } from './errors.ts'
import { isObject, type Members, malformed, requireMembers } from './members.ts'

/** The key that a token is for, of its `cnf`: SubjectPublicKeyInfo, DER. */
export function instanceKeyOf(cnf: unknown): Uint8Array {
  if (!isObject(cnf)) throw malformed('cnf')
  requireMembers('cnf', cnf, ['jwk'])
  const { jwk } = cnf
  if (!isObject(jwk)) throw malformed('jwk')
  let spki: Uint8Array
  try {
    const key = createPublicKey({ key: { ...jwk }, format: 'jwk' })
    spki = new Uint8Array(key.export({ format: 'der', type: 'spki' }))
  } catch (cause) {
    throw new TokenError('FORMAT', '"jwk" is no public key', { cause })
  }
  const again = jwkOf(spki)
  requireMembers('jwk', jwk, Object.keys(again))
  if (Object.entries(again).some(([name, member]) => jwk[name] !== member)) throw malformed('jwk')
  return spki
}

/** A public key as a JWK. */
export function jwkOf(spki: Uint8Array): Members {
  const key = readPublicKey(spki, ['P-256', 'Ed25519'])
  if (key === undefined) throw malformed('jwk')
  return { ...key.export({ format: 'jwk' }) }
}
