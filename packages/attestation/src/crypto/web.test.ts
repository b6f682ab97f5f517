import { constants, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { primitives as node } from './node.ts'
import type { Hash, SignatureAlgorithm } from './primitives.ts'
import { primitives as web } from './web.ts'

const spkiOf = (key: KeyObject) => new Uint8Array(key.export({ format: 'der', type: 'spki' }))
const DATA = new TextEncoder().encode('what is signed')

const ALGORITHMS: readonly SignatureAlgorithm[] = ['ES256', 'ES384', 'PS384']
const pairs = {
  ES256: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  ES384: generateKeyPairSync('ec', { namedCurve: 'P-384' }),
  PS384: generateKeyPairSync('rsa', { modulusLength: 2048 }),
}
const signed = (algorithm: SignatureAlgorithm) => {
  const { publicKey, privateKey: key } = pairs[algorithm]
  const options =
    algorithm === 'PS384'
      ? { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 48 }
      : { key, dsaEncoding: 'ieee-p1363' as const }
  const hash = algorithm === 'ES256' ? 'sha256' : 'sha384'
  return { spki: spkiOf(publicKey), signature: new Uint8Array(sign(hash, DATA, options)) }
}
const SIGNED = { ES256: signed('ES256'), ES384: signed('ES384'), PS384: signed('PS384') }

describe('WebCrypto', () => {
  it('says of a signature what node:crypto says', async () => {
    const flips = fc.record({
      algorithm: fc.constantFrom(...ALGORITHMS),
      key: fc.constantFrom(...ALGORITHMS),
      flipped: fc.option(fc.constantFrom('spki', 'signature', 'data')),
      at: fc.nat(1 << 16),
      cut: fc.constantFrom(0, 0, 0, 1),
    })
    await fc.assert(
      fc.asyncProperty(flips, async ({ algorithm, key, flipped, at, cut }) => {
        const given = { ...SIGNED[algorithm], data: DATA, spki: SIGNED[key].spki }
        if (flipped !== null) {
          const bytes = given[flipped].slice()
          bytes[(at >> 3) % bytes.length] = (bytes[(at >> 3) % bytes.length] ?? 0) ^ (1 << (at & 7))
          Object.assign(given, { [flipped]: bytes })
        }
        const signature = given.signature.slice(cut)
        const ask = (primitives: typeof node) => () =>
          primitives.keyFromSpki(given.spki, algorithm)?.verifies(given.data, signature)
        const said = await node.settled(ask(node))
        expect(await web.settled(ask(web))).toBe(said)
        expect(said === true).toBe(algorithm === key && flipped === null && cut === 0)
      }),
      { numRuns: 300 },
    )
  })

  it('knows no RSA key that is too short', async () => {
    const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 1024 })
    const ask = (primitives: typeof node) => () =>
      primitives.keyFromSpki(spkiOf(publicKey), 'PS384') === undefined
    expect([await node.settled(ask(node)), await web.settled(ask(web))]).toEqual([true, true])
  })

  it('takes the digests that node:crypto takes', async () => {
    const hashes: readonly Hash[] = ['SHA-256', 'SHA-384', 'SHA-512']
    for (const hash of hashes) {
      const parts = [DATA, new Uint8Array(), DATA.subarray(3)]
      const own = await web.settled(() => web.digest(hash, ...parts))
      expect(own).toEqual(node.digest(hash, ...parts))
    }
  })
})

describe('settled', () => {
  const forged = () =>
    web.keyFromSpki(SIGNED.ES256.spki, 'ES256')?.verifies(DATA, new Uint8Array(64))

  it('gives nothing that hangs on an answer not yet there', async () => {
    const seen: unknown[] = []
    const value = await web.settled(() => {
      const good = forged()
      seen.push(good)
      return good
    })
    expect([value, seen]).toEqual([false, [true, false]])
  })

  it('throws nothing that hangs on one', async () => {
    const wanted = node.digest('SHA-256', DATA)
    const value = await web.settled(() => {
      const [first] = web.digest('SHA-256', DATA)
      if (first !== wanted[0]) throw new Error('another digest')
      return 'the digest'
    })
    expect(value).toBe('the digest')
    await expect(
      web.settled(() => {
        throw new RangeError(`signed: ${String(forged())}`)
      }),
    ).rejects.toThrow('signed: false')
  })

  it('answers of the bytes that were asked of, whatever becomes of them meanwhile', async () => {
    const forgery = DATA.with(0, 0)
    const data = Uint8Array.from(forgery)
    const settling = web.settled(() => {
      data.set(forgery)
      return web.keyFromSpki(SIGNED.ES256.spki, 'ES256')?.verifies(data, SIGNED.ES256.signature)
    })
    // Between the rounds, what was signed.
    data.set(DATA)
    expect(await settling).toBe(false)
  })

  it('keeps apart what runs at the same time', async () => {
    const digest = async (data: Uint8Array) => await web.settled(() => web.digest('SHA-384', data))
    const inputs = Array.from({ length: 20 }, (_, at) => Uint8Array.of(at))
    const all = await Promise.all(inputs.map(digest))
    expect(all).toEqual(inputs.map(data => node.digest('SHA-384', data)))
  })

  it('is the only place for questions, and they come to an end', async () => {
    expect(() => web.digest('SHA-256', DATA)).toThrow('within settled()')
    expect(() => forged()).toThrow('within settled()')
    let count = 0
    await expect(web.settled(() => web.digest('SHA-256', Uint8Array.of(count++)))).rejects.toThrow(
      'open after 16 rounds',
    )
  })
})
