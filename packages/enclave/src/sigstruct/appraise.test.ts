import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { PUBLIC_TEST_SIGNERS } from '@cloister/attestation'
import { beforeAll, describe, expect, it } from 'vitest'
import { appraiseSigstruct, type SigstructExpectations } from './appraise.ts'
import { FIELDS } from './fields.test.support.ts'
import type { SigstructFields } from './format.ts'
import { signSigstruct, verifySigstruct } from './sign.ts'

const root = fileURLToPath(new URL('../../../../', import.meta.url))
const vectors = process.env['CLOISTER_VECTORS'] ?? join(root, '..', 'shared', 'vectors')
const folder = join(vectors, 'sgx-enclaves', 'sigstruct')
const present = existsSync(folder)
const skipped = present ? '' : ` (SKIPPED: no folder ${folder}; set CLOISTER_VECTORS)`

let key: KeyObject
beforeAll(() => {
  key = generateKeyPairSync('rsa', { modulusLength: 3072, publicExponent: 3 }).privateKey
})

function codesOf(fields: Partial<SigstructFields>, expected: SigstructExpectations = {}) {
  const sigstruct = verifySigstruct(signSigstruct({ ...FIELDS, ...fields }, key))
  return appraiseSigstruct(sigstruct, expected).map(({ code }) => code)
}

const DEBUG = { attributes: { flags: 6n, xfrm: 3n } }
const UNMASKED = { attributesMask: { flags: 0xffff_ffff_ffff_fffdn, xfrm: 3n } }

describe('appraiseSigstruct', () => {
  it('has nothing against a production enclave', () => {
    expect(codesOf({})).toEqual([])
    expect(codesOf({}, { minimumSvn: 9, isvProdId: 7, mrEnclave: '05'.repeat(32) })).toEqual([])
  })

  it('refuses an SVN below the floor: a release put back', () => {
    expect(codesOf({ isvSvn: 8 }, { minimumSvn: 9 })).toEqual(['ISV_SVN'])
  })

  it('refuses another signer, enclave or product, and names every reason', () => {
    const other = { mrSigner: 'ab'.repeat(32), mrEnclave: 'cd'.repeat(32), isvProdId: 8 }
    expect(codesOf({}, other)).toEqual(['MRENCLAVE', 'MRSIGNER', 'ISV_PROD_ID'])
  })

  it('refuses a debug enclave, and one that the host may start in debug mode', () => {
    expect(codesOf(DEBUG)).toEqual(['DEBUG'])
    expect(codesOf(UNMASKED)).toEqual(['DEBUG_UNMASKED'])
    expect(codesOf({ ...DEBUG, ...UNMASKED })).toEqual(['DEBUG'])
    for (const fields of [DEBUG, UNMASKED]) {
      expect(codesOf(fields, { allowDebugEnclave: true })).toEqual([])
    }
  })

  it.skipIf(!present)(`refuses a published test key outside debug${skipped}`, () => {
    const bytes = new Uint8Array(readFileSync(join(folder, 'ftx_sig1.sigstruct.bin')))
    const sigstruct = verifySigstruct(bytes)
    const codes = (expected: SigstructExpectations) =>
      appraiseSigstruct(sigstruct, expected).map(({ code }) => code)
    expect(PUBLIC_TEST_SIGNERS).toContain(Buffer.from(sigstruct.mrSigner).toString('hex'))
    expect(codes({})).toEqual(['DEBUG_UNMASKED', 'PUBLIC_TEST_SIGNER'])
    expect(codes({ allowDebugEnclave: true })).toEqual([])
  })

  it('knows each published key once', () => {
    expect(new Set(PUBLIC_TEST_SIGNERS).size).toBe(PUBLIC_TEST_SIGNERS.length)
    for (const signer of PUBLIC_TEST_SIGNERS) expect(signer).toMatch(/^[0-9a-f]{64}$/)
  })
})
