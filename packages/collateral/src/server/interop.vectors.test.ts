import { existsSync, readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { INTEL_ROOT, parseCrl, readCollateralJson, verifyEvidence } from '@cloister/attestation'
import * as dcapQvl from '@phala/dcap-qvl'
import { afterEach, describe, expect, it } from 'vitest'
import { CollateralClient } from '../client.ts'
import { getCollateralForFmspc } from '../dcap-qvl.test.support.ts'
import { platformOfQuote } from '../platform.ts'
import { type Reply, replyFrom, startService } from '../simulated-pcs.test.support.ts'
import { pccsAt } from '../upstream.ts'
import { startPccs } from './start-pccs.ts'

const VECTORS = `${
  process.env['CLOISTER_VECTORS'] ??
  fileURLToPath(new URL('../../../../../shared/vectors', import.meta.url))
}/attestation`
const HAS_VECTORS = existsSync(VECTORS)
const SKIPPED = HAS_VECTORS ? '' : ` (SKIPPED: no folder ${VECTORS}; set CLOISTER_VECTORS)`

const opened: { close(): void | Promise<void> }[] = []
const folders: string[] = []
afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one.close()
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true, force: true })
})

/** A service that caches what another one answers. */
async function caching(replyTo: (url: string) => Reply | undefined, at: Date) {
  const upstream = await startService(({ url = '' }) => replyTo(url) ?? { status: 404 })
  const dataDir = await mkdtemp(join(tmpdir(), 'cloister-pccs-'))
  folders.push(dataDir)
  const pccs = await startPccs({
    ...{ dataDir, port: 0, mode: 'LAZY', upstreams: [upstream.pcs] },
    ...{ roots: [INTEL_ROOT], now: () => at },
  })
  opened.push(upstream, pccs)
  return pccs
}

const SGX = '/sgx/certification/v4'

const CASES = [
  'sgx/icelake-automata-2025-08',
  'sgx/xeon-e-config-and-sw-hardening',
  'tdx/v4-uptodate-phala-2025-06',
  'tdx/v4-teepot-gcp-uptodate-2024-12',
]

describe.skipIf(!HAS_VECTORS)(`collateral of real platforms, from the service${SKIPPED}`, () => {
  it.each(CASES)('%s verifies by another program that fetched it, and by ours', async name => {
    const folder = `${VECTORS}/${name}`
    const evidence = new Uint8Array(readFileSync(`${folder}/quote.bin`))
    const expected = JSON.parse(readFileSync(`${folder}/expected.json`, 'utf8'))
    const collateral = readCollateralJson(
      JSON.parse(readFileSync(`${folder}/collateral.json`, 'utf8')),
    )
    const at = new Date(expected.time * 1000)
    const { tee, fmspc, ca } = platformOfQuote(evidence)
    const pccs = await caching(url => replyFrom(collateral, url), at)

    // It asks with upper-case FMSPC and `update=standard`, and takes the root's list as digits.
    const isSgx = tee === 'sgx'
    const fetched = await getCollateralForFmspc(pccs.url, fmspc.toUpperCase(), ca, isSgx)
    const theirs = dcapQvl.verify(Buffer.from(evidence), fetched, expected.time)
    expect(theirs.status).toBe(expected.status)

    const client = new CollateralClient({
      ...{ upstreams: [pccsAt(pccs.url)], roots: [INTEL_ROOT], now: () => at },
    })
    const { verified } = await client.get({ tee, fmspc, ca })
    const ours = verifyEvidence({ evidence, collateral: verified, roots: [INTEL_ROOT], at })
    expect('tcbStatus' in ours ? ours.tcbStatus : '').toBe(expected.status)
  })
})

describe.skipIf(!HAS_VECTORS)(`recorded replies of the vendor's service${SKIPPED}`, () => {
  const AT = new Date('2025-06-01T00:00:00Z')
  const recorded = (file: string): Readonly<Record<string, string>> =>
    JSON.parse(readFileSync(`${VECTORS}/pcs/teepot_${file}.json`, 'utf8'))

  /** The root's list of that summer, from a case that has it. */
  const rootCaCrl = () => {
    const lists = ['sgx/icelake-automata-2025-08', 'tdx/v4-uptodate-phala-2025-06'].map(name =>
      readCollateralJson(JSON.parse(readFileSync(`${VECTORS}/${name}/collateral.json`, 'utf8'))),
    )
    return lists.find(({ rootCaCrl: der }) => {
      const { thisUpdate, nextUpdate } = parseCrl(der)
      return thisUpdate <= AT && AT <= nextUpdate
    })?.rootCaCrl
  }

  const IDENTITY = 'SGX-Enclave-Identity-Issuer-Chain'
  const TCB = 'TCB-Info-Issuer-Chain'
  const NUMBERS = 'TCB-Evaluation-Data-Numbers-Issuer-Chain'
  /** Path, file, member of the file with the body, header of the chain. */
  const REPLIES: readonly (readonly [string, string, string, string])[] = [
    [`${SGX}/qe/identity`, 'sgx_qe_identity', 'enclave_identity_json', IDENTITY],
    [`${SGX}/qve/identity`, 'sgx_qve_identity', 'enclave_identity_json', IDENTITY],
    [`${SGX}/qae/identity`, 'sgx_qae_identity', 'enclave_identity_json', IDENTITY],
    ['/tdx/certification/v4/qe/identity', 'tdx_qe_identity', 'enclave_identity_json', IDENTITY],
    [`${SGX}/tcb?fmspc=00906ed50000`, 'sgx_tcb_info_00906ED50000', 'tcb_info_json', TCB],
    [`${SGX}/tcb?fmspc=00906ed50000&update=early`, 'sgx_tcb_info_early', 'tcb_info_json', TCB],
    ['/tdx/certification/v4/tcb?fmspc=00806f050000', 'tdx_tcb_info', 'tcb_info_json', TCB],
    [
      '/tdx/certification/v4/tcb?fmspc=00806f050000&tcbEvaluationDataNumber=17',
      ...(['tdx_tcb_info_eval17', 'tcb_info_json', TCB] as const),
    ],
    [
      `${SGX}/tcbevaluationdatanumbers`,
      ...(['sgx_tcb_eval_nums', 'tcb_evaluation_data_numbers_json', NUMBERS] as const),
    ],
    [
      '/tdx/certification/v4/tcbevaluationdatanumbers',
      ...(['tdx_tcb_eval_nums', 'tcb_evaluation_data_numbers_json', NUMBERS] as const),
    ],
  ]

  it('are relayed byte for byte, with the same chains', async () => {
    const chainOf = (file: string) => recorded(file)['issuer_chain'] ?? ''
    const replies = new Map<string, Reply>(
      REPLIES.map(([path, file, member, header]) => [
        path,
        {
          body: recorded(file)[member] ?? '',
          headers: { [header]: encodeURIComponent(chainOf(file)) },
        },
      ]),
    )
    for (const ca of ['platform', 'processor']) {
      const { crl_data: pem = '', issuer_chain: chain = '' } = recorded(`pck_crl_${ca}`)
      const headers = { 'SGX-PCK-CRL-Issuer-Chain': encodeURIComponent(chain) }
      replies.set(`${SGX}/pckcrl?ca=${ca}&encoding=der`, { body: pem, headers })
    }
    replies.set('/IntelSGXRootCA.der', { body: rootCaCrl() ?? new Uint8Array() })
    const { fmspcs_json: fmspcs = '' } = recorded('fmspcs')
    replies.set(`${SGX}/fmspcs?platform=all`, { body: fmspcs })
    const pccs = await caching(url => replies.get(url), AT)
    for (const [path, file, member, header] of REPLIES) {
      const response = await fetch(pccs.url + path)
      const body = Buffer.from(await response.arrayBuffer()).toString('utf8')
      expect([path, response.status, body]).toEqual([path, 200, recorded(file)[member]])
      const chain = decodeURIComponent(response.headers.get(header) ?? '')
      expect(chain.trim()).toBe(chainOf(file).trim())
    }
    for (const ca of ['platform', 'processor']) {
      const response = await fetch(`${pccs.url}${SGX}/pckcrl?ca=${ca}&encoding=pem`)
      const { crl_data: pem = '' } = recorded(`pck_crl_${ca}`)
      expect((await response.text()).trim()).toBe(pem.trim())
    }
    const list = await (await fetch(`${pccs.url}${SGX}/fmspcs`)).text()
    expect(list).toBe(fmspcs)
  })
})
