import { execFileSync } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { codeOf } from '../code-of.test.support.ts'
import { SigstructError } from './errors.ts'
import { FIELDS } from './fields.test.support.ts'
import { sigstructSignedBytes } from './format.ts'
import { createSigningKey, modulusOf, parseSignerPublicKey, readSigningKey } from './key.ts'
import { attachSignature, signSigstruct, signSigstructBy, verifySigstruct } from './sign.ts'
import { keySigner } from './signer.ts'

let home: string
const at = (name: string) => join(home, name)
const openssl = (...argv: readonly string[]) => execFileSync('openssl', [...argv], { cwd: home })
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), 'cloister-detached-'))
  openssl('genrsa', '-3', '-out', 'key.pem', '3072')
  openssl('rsa', '-in', 'key.pem', '-pubout', '-out', 'public.pem')
})

afterAll(() => rmSync(home, { recursive: true, force: true }))

const codeOfPromise = (promise: Promise<unknown>) =>
  promise.then(
    () => undefined,
    (error: unknown) => (error instanceof SigstructError ? error.code : error),
  )

describe('signing elsewhere', () => {
  const modulus = () => modulusOf(parseSignerPublicKey(readFileSync(at('public.pem'))))

  it('takes what OpenSSL signed, and gives what signing here gives', async () => {
    writeFileSync(at('bytes'), sigstructSignedBytes(FIELDS))
    openssl('dgst', '-sha256', '-sign', 'key.pem', '-out', 'signature', 'bytes')
    const attached = attachSignature(FIELDS, modulus(), readFileSync(at('signature')))
    expect(verifySigstruct(attached)).toMatchObject(FIELDS)
    expect(hex(attached)).toBe(hex(signSigstruct(FIELDS, await readSigningKey(at('key.pem')))))
  })

  it('refuses a signature over other fields, by another key, of another length', () => {
    writeFileSync(at('others'), sigstructSignedBytes({ ...FIELDS, isvSvn: 8 }))
    openssl('dgst', '-sha256', '-sign', 'key.pem', '-out', 'signature', 'others')
    const signature = readFileSync(at('signature'))
    expect(codeOf(() => attachSignature(FIELDS, modulus(), signature))).toBe('SIGNATURE')
    const other = generateKeyPairSync('rsa', { modulusLength: 3072, publicExponent: 3 })
    const foreign = modulusOf(other.publicKey)
    const older = { ...FIELDS, isvSvn: 8 }
    expect(codeOf(() => attachSignature(older, foreign, signature))).toBe('SIGNATURE')
    expect(codeOf(() => attachSignature(older, modulus(), signature))).toBeUndefined()
    for (const wrong of [signature.subarray(1), new Uint8Array(0), new Uint8Array(384).fill(255)]) {
      expect(codeOf(() => attachSignature(older, modulus(), wrong))).toBe('SIGNATURE')
    }
    const short = modulus().fill(0, 380)
    expect(codeOf(() => attachSignature(older, short, signature))).toBe('MODULUS')
  })

  it('refuses a signer that signs with another key than it names', async () => {
    const [one, two] = [0, 1].map(() =>
      keySigner(generateKeyPairSync('rsa', { modulusLength: 3072, publicExponent: 3 }).privateKey),
    )
    if (one === undefined || two === undefined) throw new Error('two signers were made')
    const false_ = { modulus: one.modulus, sign: two.sign }
    expect(await codeOfPromise(signSigstructBy(FIELDS, false_))).toBe('SIGNATURE')
    expect(verifySigstruct(await signSigstructBy(FIELDS, one)).modulus).toEqual(one.modulus)
  })

  it('refuses public keys that no enclave is signed with', () => {
    const pem = (bits: number, publicExponent: number) =>
      generateKeyPairSync('rsa', { modulusLength: bits, publicExponent }).publicKey.export({
        type: 'spki',
        format: 'pem',
      })
    for (const wrong of [pem(2048, 3), pem(3072, 65537), 'nothing']) {
      expect(codeOf(() => parseSignerPublicKey(Buffer.from(wrong)))).toBe('KEY')
    }
  })
})

describe('a signing key under a passphrase', () => {
  const written = async (name: string, text: string) => {
    writeFileSync(at(name), text, { mode: 0o600 })
    return at(name)
  }

  it('is read again with it, here and by OpenSSL, and with no other', async () => {
    const passphraseFile = await written('passphrase', 'correct horse battery staple\n')
    const made = await createSigningKey(at('locked.pem'), { passphraseFile })
    const pem = readFileSync(at('locked.pem'), 'utf8')
    expect(pem).toMatch(/^-----BEGIN ENCRYPTED PRIVATE KEY-----\n/)
    const read = await readSigningKey(at('locked.pem'), { passphraseFile })
    expect(hex(modulusOf(read))).toBe(hex(modulusOf(made)))
    const opened = openssl('pkey', '-in', 'locked.pem', '-passin', 'file:passphrase', '-pubout')
    expect(hex(modulusOf(parseSignerPublicKey(opened)))).toBe(hex(modulusOf(made)))
    const dump = openssl('asn1parse', '-in', 'locked.pem').toString()
    expect(dump).toMatch(/PBES2[\s\S]*PBKDF2[\s\S]*INTEGER +:0927C0[\s\S]*hmacWithSHA256/)

    const wrong = await written('wrong', 'incorrect horse\n')
    const empty = await written('empty', '\n')
    const codes = [{}, { passphraseFile: wrong }, { passphraseFile: empty }].map(options =>
      codeOfPromise(readSigningKey(at('locked.pem'), options)),
    )
    expect(await Promise.all(codes)).toEqual(['PASSPHRASE', 'PASSPHRASE', 'KEY_FILE'])
  })

  it('is read from what OpenSSL encrypted', async () => {
    const passphraseFile = await written('passphrase', 'correct horse battery staple\n')
    openssl(
      ...['pkcs8', '-topk8', '-in', 'key.pem', '-out', 'theirs.pem'],
      ...['-v2', 'aes-256-cbc', '-passout', 'file:passphrase'],
    )
    execFileSync('chmod', ['600', at('theirs.pem')])
    const read = await readSigningKey(at('theirs.pem'), { passphraseFile })
    const plain = await readSigningKey(at('key.pem'))
    expect(hex(modulusOf(read))).toBe(hex(modulusOf(plain)))
  })
})
