import { execFileSync, spawnSync } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { makeTokens, PIN, SOFTHSM } from '@cloister/pkcs11/testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { codeOfRejection } from '../code-of.test.support.ts'
import { FIELDS } from './fields.test.support.ts'
import { sigstructSignedBytes } from './format.ts'
import { modulusOf } from './key.ts'
import { attachSignature, signSigstruct, signSigstructBy, verifySigstruct } from './sign.ts'
import { createSigningKeyInToken, type SigningToken, tokenSigner } from './token-signer.ts'

const { modulePath, title } = SOFTHSM
const isThere = modulePath !== ''
const PKCS11_TOOL = spawnSync('pkcs11-tool', ['--help']).error === undefined
let home = ''
const at = (name: string) => join(home, name)
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

beforeAll(() => {
  if (!isThere) return
  home = mkdtempSync(join(tmpdir(), 'cloister-signing-'))
  makeTokens(home, ['signing', 'other'])
  writeFileSync(at('pin'), `${PIN}\n`, { mode: 0o600 })
})

afterAll(() => {
  if (isThere) rmSync(home, { recursive: true })
})

const tokenOf = (keyLabel: string, more: Partial<SigningToken> = {}): SigningToken => ({
  ...{ modulePath, tokenLabel: 'signing', pinFile: at('pin'), keyLabel },
  ...more,
})

/** Brings a key made outside to the token. */
function importKey(label: string, idHex: string, modulusLength: number, publicExponent: number) {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength, publicExponent })
  writeFileSync(at(`${idHex}.pem`), privateKey.export({ type: 'pkcs8', format: 'pem' }))
  const argv = ['--import', at(`${idHex}.pem`), '--label', label, '--id', idHex]
  execFileSync('softhsm2-util', [...argv, '--token', 'signing', '--pin', PIN])
  return privateKey
}

describe.skipIf(!isThere)(`signing in a PKCS#11 token${title}`, () => {
  it('makes a key there that signs, and is made once', async () => {
    const where = tokenOf('release')
    const modulus = await createSigningKeyInToken(where)
    const signer = await tokenSigner(where)
    expect(hex(signer.modulus)).toBe(hex(modulus))
    const signed = await signSigstructBy(FIELDS, signer)
    expect(verifySigstruct(signed)).toMatchObject({ ...FIELDS, modulus })
    expect(hex(await signSigstructBy(FIELDS, signer))).toBe(hex(signed))
    expect(await codeOfRejection(createSigningKeyInToken(where))).toBe('TOKEN')
  })

  it('signs as the same key in a file does', async () => {
    const key = importKey('brought', 'a1', 3072, 3)
    const signer = await tokenSigner(tokenOf('brought'))
    expect(hex(signer.modulus)).toBe(hex(modulusOf(key)))
    expect(hex(await signSigstructBy(FIELDS, signer))).toBe(hex(signSigstruct(FIELDS, key)))
  })

  it('refuses keys that enclaves are not signed with, none, and two of a label', async () => {
    importKey('large exponent', 'b1', 3072, 65537)
    importKey('short', 'b2', 2048, 3)
    importKey('twin', 'b3', 3072, 3)
    importKey('twin', 'b4', 3072, 3)
    const refused = ['large exponent', 'short', 'twin', 'absent'].map(label =>
      codeOfRejection(tokenSigner(tokenOf(label))),
    )
    expect(await Promise.all(refused)).toEqual(['KEY', 'KEY', 'TOKEN', 'TOKEN'])
    expect(await codeOfRejection(tokenSigner(tokenOf('x', { tokenLabel: 'none' })))).toBe('TOKEN')
    writeFileSync(at('wrong'), '135791', { mode: 0o600 })
    expect(await codeOfRejection(tokenSigner(tokenOf('x', { pinFile: at('wrong') })))).toBe('TOKEN')
    writeFileSync(at('open'), PIN, { mode: 0o644 })
    expect(await codeOfRejection(tokenSigner(tokenOf('x', { pinFile: at('open') })))).toBe(
      'KEY_FILE',
    )
  })

  const missing = PKCS11_TOOL ? '' : ' (skipped: no pkcs11-tool; install opensc)'
  it.skipIf(!PKCS11_TOOL)(`takes what pkcs11-tool signed there${missing}`, async () => {
    const modulus = await createSigningKeyInToken(tokenOf('apart', { tokenLabel: 'other' }))
    writeFileSync(at('bytes'), sigstructSignedBytes(FIELDS))
    execFileSync('pkcs11-tool', [
      ...['--module', modulePath, '--token-label', 'other', '--login', '--pin', PIN],
      ...['--sign', '--mechanism', 'SHA256-RSA-PKCS', '--label', 'apart'],
      ...['--input-file', at('bytes'), '--output-file', at('signature')],
    ])
    const attached = attachSignature(FIELDS, modulus, readFileSync(at('signature')))
    expect(verifySigstruct(attached)).toMatchObject(FIELDS)
  })
})
