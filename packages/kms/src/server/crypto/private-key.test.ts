import { execFileSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { DigestName } from './digest.ts'
import {
  type CryptoError,
  decryptWith,
  encryptTo,
  type KeySpec,
  newKeyMaterial,
  publicPem,
  type SignaturePadding,
  signWith,
  verifyWith,
} from './index.ts'

let folder: string

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'cloister-crypto-'))
})

afterAll(() => rmSync(folder, { recursive: true }))

function file(name: string, bytes: Uint8Array | string): string {
  const path = join(folder, name)
  writeFileSync(path, bytes)
  return path
}

/** Runs OpenSSL's own tool: another implementation on the other end. */
function openssl(...args: readonly string[]): Buffer {
  return execFileSync('openssl', args, { stdio: ['ignore', 'pipe', 'pipe'] })
}

/** Whether OpenSSL takes a signature over a digest, or over a message for SM2. */
function opensslTakes(
  pem: string,
  input: Uint8Array,
  signature: Uint8Array,
  options: readonly string[],
): boolean {
  try {
    const of = ['-pubin', '-inkey', file('public.pem', pem), '-sigfile', file('sig', signature)]
    openssl('pkeyutl', '-verify', ...of, '-in', file('in', input), ...options)
    return true
  } catch {
    return false
  }
}

function codeOf(work: () => unknown): string {
  try {
    work()
  } catch (error) {
    return (error as CryptoError).code
  }
  return 'nothing thrown'
}

const DIGESTS: readonly DigestName[] = ['sha224', 'sha256', 'sha384', 'sha512', 'sm3']
const EC: readonly KeySpec[] = ['EC_P224', 'EC_P256', 'EC_P256K', 'EC_P384', 'EC_P521']
const ofEach = (specs: readonly KeySpec[], paddings: readonly SignaturePadding[]) =>
  specs.flatMap(spec => paddings.map(padding => ({ spec, padding })))

describe('signatures', () => {
  it.each([...ofEach(EC, ['none']), ...ofEach(['RSA_2048', 'RSA_3072'], ['pkcs1', 'pss'])])(
    'of $spec with padding $padding are what OpenSSL takes, of messages and of digests',
    async ({ spec, padding }) => {
      const key = { spec, material: await newKeyMaterial(spec) }
      const message = randomBytes(50)
      for (const digest of DIGESTS) {
        const hashed = createHash(digest).update(message).digest()
        const pss = padding === 'pss' ? ['rsa_padding_mode:pss', 'rsa_pss_saltlen:digest'] : []
        const options = [...pss, `digest:${digest}`].flatMap(option => ['-pkeyopt', option])
        const raw = { kind: 'raw', digest, bytes: message } as const
        const made = { kind: 'digest', digest, bytes: hashed } as const
        for (const toSign of [raw, made]) {
          const signature = signWith(key, padding, toSign)
          // OpenSSL 3 knows no SM3 with RSA.
          if (digest !== 'sm3' || padding === 'none') {
            expect(opensslTakes(publicPem(key), hashed, signature, options)).toBe(true)
          }
          // What was signed as a message verifies as a digest, and the other way about.
          expect(verifyWith(key, padding, raw, signature)).toBe(true)
          expect(verifyWith(key, padding, made, signature)).toBe(true)
          const other = randomBytes(50)
          expect(verifyWith(key, padding, { ...raw, bytes: other }, signature)).toBe(false)
          const bent = Uint8Array.from(signature)
          bent[bent.length - 2] = (bent.at(-2) ?? 0) ^ 1
          expect(verifyWith(key, padding, raw, bent)).toBe(false)
          expect(verifyWith(key, padding, made, bent)).toBe(false)
        }
        const short = { ...made, bytes: hashed.subarray(1) }
        expect(codeOf(() => signWith(key, padding, short))).toBe('LENGTH')
      }
    },
  )

  it('of SM2 are what OpenSSL takes, with the user id that everyone has', async () => {
    const key = { spec: 'SM2', material: await newKeyMaterial('SM2') } as const
    const message = randomBytes(100)
    const toSign = { kind: 'raw', digest: 'sm3', bytes: message } as const
    const signature = signWith(key, 'none', toSign)
    const id = ['-pkeyopt', 'distid:1234567812345678']
    const options = ['-rawin', '-digest', 'sm3', ...id]
    expect(opensslTakes(publicPem(key), message, signature, options)).toBe(true)
    expect(verifyWith(key, 'none', toSign, signature)).toBe(true)
    expect(verifyWith(key, 'none', { ...toSign, bytes: randomBytes(100) }, signature)).toBe(false)
    expect(verifyWith(key, 'none', toSign, randomBytes(70))).toBe(false)
    const other = { spec: 'SM2', material: await newKeyMaterial('SM2') } as const
    expect(verifyWith(other, 'none', toSign, signature)).toBe(false)
  })

  it('of RSA are refused at any other length', async () => {
    const key = { spec: 'RSA_2048', material: await newKeyMaterial('RSA_2048') } as const
    const toSign = { kind: 'raw', digest: 'sha256', bytes: randomBytes(3) } as const
    expect(codeOf(() => verifyWith(key, 'pss', toSign, randomBytes(255)))).toBe('LENGTH')
    const beyond = new Uint8Array(256).fill(0xff)
    expect(verifyWith(key, 'pss', { ...toSign, digest: 'sm3' }, beyond)).toBe(false)
  })
})

describe('encryption', () => {
  it.each(['RSA_2048', 'RSA_4096'] as const)('to %s is what OpenSSL opens', async spec => {
    const key = { spec, material: await newKeyMaterial(spec) }
    const inkey = file('private.der', key.material)
    const message = randomBytes(40)
    const oaep = ['rsa_padding_mode:oaep', 'rsa_oaep_md:sha256', 'rsa_mgf1_md:sha256']
    for (const [padding, options] of [
      ['pkcs1', []],
      ['oaep', oaep.flatMap(option => ['-pkeyopt', option])],
    ] as const) {
      const own = file('own', encryptTo(key, padding, message))
      const opening = ['pkeyutl', '-decrypt', '-keyform', 'DER', '-inkey', inkey, '-in', own]
      expect(openssl(...opening, ...options).equals(message)).toBe(true)
      const to = ['-pubin', '-inkey', file('to.pem', publicPem(key)), '-in', file('m', message)]
      const theirs = openssl('pkeyutl', '-encrypt', ...to, ...options)
      expect(Buffer.from(decryptWith(key, padding, theirs)).equals(message)).toBe(true)
      expect(decryptWith(key, padding, encryptTo(key, padding, new Uint8Array(0)))).toHaveLength(0)
      theirs[9] = (theirs[9] ?? 0) ^ 1
      expect(codeOf(() => decryptWith(key, padding, theirs))).toBe('DECRYPT')
      expect(codeOf(() => encryptTo(key, padding, new Uint8Array(600)))).toBe('LENGTH')
    }
  })

  it('to SM2 is what OpenSSL writes', async () => {
    const key = { spec: 'SM2', material: await newKeyMaterial('SM2') } as const
    const to = ['-pubin', '-inkey', file('sm2.pem', publicPem(key))]
    for (const length of [1, 31, 32, 33, 127, 128, 255]) {
      const message = randomBytes(length)
      const theirs = openssl('pkeyutl', '-encrypt', ...to, '-in', file('m', message))
      expect(Buffer.from(decryptWith(key, 'none', theirs)).equals(message)).toBe(true)
      const own = encryptTo(key, 'none', message)
      expect(Buffer.from(decryptWith(key, 'none', own)).equals(message)).toBe(true)
      for (let at = 0; at < own.length; at += 5) {
        const bent = Uint8Array.from(own)
        bent[at] = (bent[at] ?? 0) ^ 1
        expect(codeOf(() => decryptWith(key, 'none', bent))).toBe('DECRYPT')
      }
    }
    expect(codeOf(() => encryptTo(key, 'none', new Uint8Array(256)))).toBe('LENGTH')
    expect(codeOf(() => encryptTo(key, 'none', new Uint8Array(0)))).toBe('LENGTH')
  })

  it('is refused to keys that only sign', async () => {
    const key = { spec: 'EC_P256', material: await newKeyMaterial('EC_P256') } as const
    expect(codeOf(() => encryptTo(key, 'oaep', randomBytes(3)))).toBe('UNSUPPORTED')
    const secret = { spec: 'AES_GCM_128', material: randomBytes(16) } as const
    expect(codeOf(() => publicPem(secret))).toBe('UNSUPPORTED')
  })
})
