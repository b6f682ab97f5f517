import { generateKeyPairSync } from 'node:crypto'
import fc from 'fast-check'
import { CompactSign, exportJWK } from 'jose'
import { describe, expect, it } from 'vitest'
import { encodeLengthPrefixed, fromBase64Url, fromHex } from './encoding.ts'
import { decryptWith, encryptTo, JWS_TYPES, signJws, verifyJws } from './jws.ts'
import { encodePublicKey, parsePublicKey } from './public-key.ts'
import { headsTranscript, releaseTranscript } from './transcript.ts'

const malformed = expect.objectContaining({ name: 'KmsError', code: 'MALFORMED' })
const newKey = () => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey

describe('transcripts', () => {
  const base = {
    challenge: Buffer.alloc(64, 1).toString('base64url'),
    quoteDigest: new Uint8Array(32).fill(2),
    jobDigest: new Uint8Array(32).fill(3),
    receiveKey: Buffer.alloc(91, 4).toString('base64url'),
    signKey: Buffer.alloc(91, 5).toString('base64url'),
    token: 'a.b.c',
    request: 'd.e.f',
  }

  it('have the digests that this file says', () => {
    expect(releaseTranscript(base)).toBe(
      'f7810e6d585ca60679d37d0dc9591187037b4fb366adb61a82e156ae908c3ae0',
    )
    expect(headsTranscript('d.e.f')).toBe(
      '0c6f92b26cb56f424d8b8d1f389acc5afc923f1251ec1a62a5808d551ff5f2d5',
    )
  })

  it('differ for any change, and for parts that run into one another', () => {
    const all = [
      base,
      { ...base, challenge: base.receiveKey },
      { ...base, quoteDigest: base.jobDigest },
      { ...base, jobDigest: base.quoteDigest },
      { ...base, receiveKey: base.signKey },
      { ...base, signKey: base.receiveKey },
      { ...base, token: 'a.b.cd', request: '.e.f' },
      { ...base, token: 'a.b.', request: 'cd.e.f' },
    ].map(releaseTranscript)
    expect(new Set([...all, headsTranscript('d.e.f')]).size).toBe(all.length + 1)
  })

  it('never encode two lists of parts alike', () => {
    const parts = fc.array(fc.uint8Array({ maxLength: 4 }), { maxLength: 4 })
    fc.assert(
      fc.property(parts, parts, (a, b) => {
        const same =
          a.length === b.length && a.every((part, i) => Buffer.compare(part, b[i] ?? part) === 0)
        return (Buffer.compare(encodeLengthPrefixed(a), encodeLengthPrefixed(b)) === 0) === same
      }),
    )
  })
})

describe('encodings', () => {
  it.each(['AB', 'A', 'AA==', 'A A', 'AA+', 'AA/'])('refuses base64url %j', text => {
    expect(() => fromBase64Url('text', text)).toThrow(malformed)
  })

  it.each(['A0', '0', 'zz'])('refuses hexadecimal %j', text => {
    expect(() => fromHex('text', text)).toThrow(malformed)
  })

  it('takes a public key in one encoding only', () => {
    const key = encodePublicKey(newKey())
    expect(encodePublicKey(parsePublicKey('key', key))).toBe(key)
    const spki = { format: 'der', type: 'spki' } as const
    const other = generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey.export(spki)
    const compressed = Buffer.from(key, 'base64url')
    const wrong = [
      other.toString('base64url'),
      Buffer.concat([compressed.subarray(0, -64), Buffer.alloc(64, 4)]).toString('base64url'),
      encodePublicKey(generateKeyPairSync('x25519').publicKey),
      `${key.slice(0, -1)}B`,
      Buffer.concat([compressed, Buffer.of(0)]).toString('base64url'),
      Buffer.alloc(91, 4).toString('base64url'),
      '',
    ]
    for (const each of wrong) expect(() => parsePublicKey('key', each)).toThrow(malformed)
  })
})

describe('signed messages', () => {
  it('say who signed, and are of one type', async () => {
    const key = newKey()
    const jws = await signJws(JWS_TYPES.release, { a: 1 }, key)
    const verified = await verifyJws(JWS_TYPES.release, jws)
    expect(verified).toEqual({ payload: { a: 1 }, signKey: encodePublicKey(key) })
    await expect(verifyJws(JWS_TYPES.heads, jws)).rejects.toEqual(malformed)
  })

  it('are refused unless their payload is canonical', async () => {
    const key = newKey()
    const { kty, crv, x, y } = await exportJWK(key)
    for (const payload of ['{"b":1,"a":2}', '{"a":1,"a":1}', '{ "a":1}', '\ufeff{}', '{"a":1.0}']) {
      const header = { alg: 'ES256', typ: JWS_TYPES.release, jwk: { kty, crv, x, y } } as const
      const sign = new CompactSign(Buffer.from(payload)).setProtectedHeader(header as never)
      await expect(verifyJws(JWS_TYPES.release, await sign.sign(key))).rejects.toEqual(malformed)
    }
  })

  it('are refused with a private key, another member or another algorithm in the header', async () => {
    const key = newKey()
    const { kty, crv, x, y, d } = await exportJWK(key)
    const typ = JWS_TYPES.release
    for (const header of [
      { alg: 'ES256', typ, jwk: { kty, crv, x, y, d } },
      { alg: 'ES256', typ, jwk: { kty, crv, x, y }, kid: 'a' },
      { alg: 'ES256', typ },
    ]) {
      const sign = new CompactSign(Buffer.from('{}')).setProtectedHeader(header as never)
      await expect(verifyJws(typ, await sign.sign(key))).rejects.toEqual(malformed)
    }
    const none = ['{"alg":"none","typ":"cloister-release+jws"}', '{}']
    const unsigned = `${none.map(text => Buffer.from(text).toString('base64url')).join('.')}.`
    await expect(verifyJws(typ, unsigned)).rejects.toEqual(malformed)
  })

  it('never crash their reader', async () => {
    await fc.assert(
      fc.asyncProperty(fc.string(), async text => {
        await expect(verifyJws(JWS_TYPES.release, text)).rejects.toEqual(malformed)
      }),
    )
  })
})

describe('encrypted keys', () => {
  it('open for their receiver only', async () => {
    const key = newKey()
    const jwe = await encryptTo(parsePublicKey('key', encodePublicKey(key)), { a: 'b' })
    expect(await decryptWith(key, jwe)).toEqual({ a: 'b' })
    await expect(decryptWith(newKey(), jwe)).rejects.toEqual(malformed)
    const parts = jwe.split('.')
    parts[3] = Buffer.from('changed').toString('base64url')
    await expect(decryptWith(key, parts.join('.'))).rejects.toEqual(malformed)
  })
})
