import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { readPublicKey } from './public-key.ts'
import { jwkOfSpki, type KeyKind, spkiOfJwk } from './spki.ts'

const pairs: Record<KeyKind, { publicKey: KeyObject }> = {
  'P-256': generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  X25519: generateKeyPairSync('x25519'),
  Ed25519: generateKeyPairSync('ed25519'),
}
const KINDS = Object.keys(pairs) as KeyKind[]
const spkiOf = (key: KeyObject) => new Uint8Array(key.export({ format: 'der', type: 'spki' }))
const p256 = pairs['P-256'].publicKey
const jwk = { ...p256.export({ format: 'jwk' }) }

describe.each(KINDS)('a public key of %s', kind => {
  const { publicKey } = pairs[kind]
  const spki = spkiOf(publicKey)

  it('is the JWK that OpenSSL makes of it, and back', () => {
    expect(jwkOfSpki(spki)).toEqual(publicKey.export({ format: 'jwk' }))
    expect(spkiOfJwk({ ...publicKey.export({ format: 'jwk' }) })).toEqual(spki)
  })

  it('is read where its kind is wanted, and nowhere else', () => {
    expect(
      readPublicKey(spki, KINDS)?.equals(
        createPublicKey(publicKey.export({ format: 'pem', type: 'spki' })),
      ),
    ).toBe(true)
    expect(
      readPublicKey(
        spki,
        KINDS.filter(other => other !== kind),
      ),
    ).toBeUndefined()
  })

  it('has one length', () => {
    expect(readPublicKey(spki.subarray(0, -1), KINDS)).toBeUndefined()
    expect(readPublicKey(new Uint8Array([...spki, 0]), KINDS)).toBeUndefined()
  })
})

describe('a public key', () => {
  it('is a point of its curve', () => {
    const spki = spkiOf(p256)
    spki[spki.length - 1] = (spki[spki.length - 1] ?? 0) ^ 1
    expect(readPublicKey(spki, KINDS)).toBeUndefined()
    // Asked again, as what was read before is kept.
    expect(readPublicKey(spki, KINDS)).toBeUndefined()
  })

  it('is on a curve that is taken, in the one encoding', () => {
    const other = generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey
    expect(readPublicKey(spkiOf(other), KINDS)).toBeUndefined()
    const compressed = Buffer.from(spkiOf(p256)).fill(2, 26, 27)
    expect(readPublicKey(compressed, KINDS)).toBeUndefined()
  })
})

describe('a JWK', () => {
  const x = jwk.x ?? ''
  it.each([
    ['another member', { ...jwk, kid: 'a' }],
    ['a private key', { ...jwk, d: x }],
    ['another curve', { ...jwk, crv: 'P-384' }],
    ['another type', { ...jwk, kty: 'OKP' }],
    ['no y', { kty: 'EC', crv: 'P-256', x }],
    ['y of a curve that has none', { kty: 'OKP', crv: 'X25519', x, y: x }],
    ['padding', { ...jwk, x: `${x}=` }],
    ['a coordinate too short', { ...jwk, x: x.slice(0, -2) }],
    ['a coordinate that is none', { ...jwk, x: 7 }],
    ['nothing', {}],
  ])('with %s is none', (_what, other) => {
    expect(spkiOfJwk(other)).toBeUndefined()
  })
})
