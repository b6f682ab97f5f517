import { createHash } from 'node:crypto'
import { encode, Tagged } from 'cborg'
import { asList, decodeCbor, malformed } from './cbor.ts'

/** OID of the conceptual message wrapper, which the interoperable form is an extension of. */
export const INTEROPERABLE_OID = '2.23.133.5.4.9'

/** CBOR tag: [quote, claims]; and endorsements of such a quote. */
export const QUOTE_TAG = 60000
/** CBOR tags of reports that only the machine itself can verify. */
const LOCAL_REPORT_TAGS = [60001, 60002] as const

const PUBKEY_HASH = 'pubkey-hash'
const MAX_CLAIMS = 64
const HASHES: ReadonlyMap<unknown, string> = new Map([
  [1, 'sha256'],
  [7, 'sha384'],
  [8, 'sha512'],
])

/** The extension's contents, read. */
export interface ConceptualMessage {
  readonly quote: Uint8Array
  /** The claims as they came: what the report data binds. */
  readonly claims: Uint8Array
}

/** Encodes quote and claims as the interoperable extension has them. */
export function encodeConceptualMessage({ quote, claims }: ConceptualMessage): Uint8Array {
  return encode(new Tagged(QUOTE_TAG, [quote, claims]))
}

/**
 * Reads the interoperable extension.
 * @throws AttestedCertificateError EVIDENCE
 */
export function parseConceptualMessage(bytes: Uint8Array): ConceptualMessage {
  const message = decodeCbor(bytes, Tagged.preserve(QUOTE_TAG, ...LOCAL_REPORT_TAGS))
  if (!(message instanceof Tagged)) throw malformed('wanted CBOR tag 60000')
  if (message.tag !== QUOTE_TAG) {
    throw malformed(`tag ${message.tag} is a report that only its own machine can verify`)
  }
  const [quote, claims, ...more] = asList(message.value)
  if (!(quote instanceof Uint8Array && claims instanceof Uint8Array) || more.length > 0) {
    throw malformed('wanted a list of quote and claims, two byte strings')
  }
  return { quote, claims }
}

/** Encodes the claims that bind a key: SHA-256 of its SubjectPublicKeyInfo. */
export function encodeKeyClaims(spki: Uint8Array): Uint8Array {
  const hash = new Uint8Array(createHash('sha256').update(spki).digest())
  return encode(new Map([[PUBKEY_HASH, encode([1, hash])]]))
}

/**
 * Whether claims name this key.
 * @param spki - SubjectPublicKeyInfo, DER.
 * @throws AttestedCertificateError EVIDENCE when they are no claims about a key
 */
export function claimsNameKey(claims: Uint8Array, spki: Uint8Array): boolean {
  const map = decodeCbor(claims)
  if (!(map instanceof Map) || map.size > MAX_CLAIMS) throw malformed('the claims are no map')
  const wrapped: unknown = map.get(PUBKEY_HASH)
  if (!(wrapped instanceof Uint8Array)) throw malformed(`the claims lack ${PUBKEY_HASH}`)
  const [algorithm, hash, ...more] = asList(decodeCbor(wrapped))
  const name = HASHES.get(algorithm)
  if (name === undefined || !(hash instanceof Uint8Array) || more.length > 0) {
    throw malformed(`${PUBKEY_HASH}: wanted SHA-256 (1), SHA-384 (7) or SHA-512 (8) and the hash`)
  }
  return createHash(name).update(spki).digest().equals(hash)
}
