import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { CASES, collateralOf, HAS_VECTORS, SKIPPED, VECTORS } from '../vectors.test.support.ts'
import { parseCrl } from '../x509/crl.ts'
import { INTEL_ROOT } from './roots.ts'
import {
  type SignedDocuments,
  verifyPckCrl,
  verifyRootCrl,
  verifySignedDocument,
} from './single-document.ts'

const options = { roots: [INTEL_ROOT], at: new Date('2025-06-01T00:00:00Z') }

const recorded = (file: string): Readonly<Record<string, string>> =>
  JSON.parse(readFileSync(`${VECTORS}/pcs/teepot_${file}.json`, 'utf8')) as Record<string, string>

/** The vendor's list of that summer, from a case that has it. */
function rootCaCrl(): Uint8Array {
  const lists = CASES.flatMap(one => collateralOf(one)?.rootCaCrl ?? [])
  const list = lists.find(der => {
    const { thisUpdate, nextUpdate } = parseCrl(der)
    return (
      thisUpdate <= options.at && options.at <= nextUpdate && nextUpdate.getUTCFullYear() < 2030
    )
  })
  if (list === undefined) throw new Error('no case has a root list of June 2025')
  return list
}

function verified<M extends keyof SignedDocuments>(
  member: M,
  body: string,
  chain: string,
): SignedDocuments[M] {
  const [, text = '', signature = ''] =
    new RegExp(`^\\{"${member}":(.*),"signature":"([0-9a-f]{128})"\\}$`).exec(body) ?? []
  const bytes = new Uint8Array(Buffer.from(signature, 'hex'))
  const given = { text, signature: bytes, chain, rootCaCrl: rootCaCrl() }
  return verifySignedDocument(member, given, options)
}

describe.skipIf(!HAS_VECTORS)(`recorded replies of the vendor's service${SKIPPED}`, () => {
  it.each([
    ['sgx_qe_identity', 'QE'],
    ['sgx_qe_identity_v3', 'QE'],
    ['sgx_qve_identity', 'QVE'],
    ['sgx_qae_identity', 'QAE'],
    ['tdx_qe_identity', 'TD_QE'],
  ])('%s is an identity of %s', (file, id) => {
    const { enclave_identity_json: body = '', issuer_chain: chain = '' } = recorded(file)
    expect(verified('enclaveIdentity', body, chain).id).toBe(id)
  })

  it.each([
    ['sgx_tcb_info_00906ED50000', 'SGX', '00906ed50000'],
    ['sgx_tcb_info_early', 'SGX', '00906ed50000'],
    ['tdx_tcb_info', 'TDX', '00806f050000'],
    ['tdx_tcb_info_eval17', 'TDX', '00806f050000'],
  ])('%s is a TCB info', (file, id, fmspc) => {
    const { tcb_info_json: body = '', issuer_chain: chain = '' } = recorded(file)
    const info = verified('tcbInfo', body, chain)
    expect([info.id, Buffer.from(info.fmspc).toString('hex')]).toEqual([id, fmspc])
  })

  it.each(['sgx', 'tdx'])('%s evaluation numbers', tee => {
    const { tcb_evaluation_data_numbers_json: body = '', issuer_chain: chain = '' } = recorded(
      `${tee}_tcb_eval_nums`,
    )
    const { id, numbers } = verified('tcbEvaluationDataNumbers', body, chain)
    expect([id, numbers.length > 0]).toEqual([tee.toUpperCase(), true])
  })

  it.each(['platform', 'processor'] as const)('revocation lists of the %s CA', ca => {
    const { crl_data: pem = '', issuer_chain: chain = '' } = recorded(`pck_crl_${ca}`)
    const crl = new Uint8Array(Buffer.from(pem.replace(/-----[^-]+-----/g, ''), 'base64'))
    const root = rootCaCrl()
    expect(verifyPckCrl({ crl, chain, rootCaCrl: root }, options)).toMatchObject({ ca })
    expect(verifyRootCrl({ crl: root, chain }, options).nextUpdate > options.at).toBe(true)
  })
})
