/** Kinds of public key that an instance may have. */
export type KeyKind = 'P-256' | 'X25519' | 'Ed25519'

/**
 * What the SubjectPublicKeyInfo of each kind begins with, in its one encoding, and the bytes that
 * follow: of P-256 an uncompressed point, without its first byte; of the others the key itself.
 * @see RFC 5480 section 2, RFC 8410 section 4
 */
const FORMS = {
  'P-256': form('3059301306072a8648ce3d020106082a8648ce3d03010703420004', 64),
  X25519: form('302a300506032b656e032100', 32),
  Ed25519: form('302a300506032b6570032100', 32),
} as const satisfies Record<KeyKind, unknown>

function form(prefix: string, bytes: number) {
  return { prefix: Buffer.from(prefix, 'hex'), bytes }
}

/** A public key as a JWK, with no other member. @see RFC 7518 section 6.2, RFC 8037 section 2 */
export type PublicJwk =
  | { readonly kty: 'EC'; readonly crv: 'P-256'; readonly x: string; readonly y: string }
  | { readonly kty: 'OKP'; readonly crv: 'X25519' | 'Ed25519'; readonly x: string }

/** The SubjectPublicKeyInfo, DER, of one of these kinds as a JWK; `undefined` for any other. */
export function jwkOfSpki(spki: Uint8Array): PublicJwk | undefined {
  const kind = kindOfSpki(spki)
  if (kind === undefined) return undefined
  const key = Buffer.from(spki.subarray(FORMS[kind].prefix.length))
  const part = (from: number) => key.subarray(from, from + 32).toString('base64url')
  return kind === 'P-256'
    ? { kty: 'EC', crv: kind, x: part(0), y: part(32) }
    : { kty: 'OKP', crv: kind, x: part(0) }
}

/**
 * The SubjectPublicKeyInfo, DER, of a public JWK in its one spelling, with no other member;
 * `undefined` for anything else. Whether it is a point of its curve, it does not say.
 */
export function spkiOfJwk(jwk: Readonly<Record<string, unknown>>): Uint8Array | undefined {
  const { crv, kty, x, y, ...others } = jwk
  if (Object.keys(others).length > 0) return undefined
  if (kty === 'EC' && crv === 'P-256') return spkiFrom('P-256', [x, y])
  if (y !== undefined || kty !== 'OKP') return undefined
  return crv === 'X25519' || crv === 'Ed25519' ? spkiFrom(crv, [x]) : undefined
}

function spkiFrom(kind: KeyKind, parts: readonly unknown[]): Uint8Array | undefined {
  const bytes = parts.map(part => Buffer.from(typeof part === 'string' ? part : '', 'base64url'))
  const isOne = bytes.every(
    (own, at) => own.length === 32 && own.toString('base64url') === parts[at],
  )
  return isOne ? new Uint8Array(Buffer.concat([FORMS[kind].prefix, ...bytes])) : undefined
}

/** Of which kind a SubjectPublicKeyInfo is, by what it begins with and its length. */
export function kindOfSpki(spki: Uint8Array): KeyKind | undefined {
  const kinds = Object.keys(FORMS) as readonly KeyKind[]
  return kinds.find(kind => {
    const { bytes, prefix } = FORMS[kind]
    const begins = prefix.equals(spki.subarray(0, prefix.length))
    return begins && spki.length === prefix.length + bytes
  })
}
