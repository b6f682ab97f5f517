import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  CodedError,
  readCollateralJson,
  verifyEvidence,
  withSimConditions,
} from '@cloister/attestation'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { DocumentName } from '../documents/name.ts'
import { verifyDocument } from '../documents/verify-document.ts'
import { openState, type PccsState } from '../server/state.ts'
import {
  AT,
  FMSPC,
  newFolder,
  PLATFORM,
  PPID,
  QEID,
  registration,
  startPcs,
} from '../server/world.test.support.ts'
import { fmspcOf, platformAt, startService } from '../simulated-pcs.test.support.ts'
import type { Upstream } from '../upstream.ts'
import { collect } from './collect.ts'
import { BundleError, importBundle } from './import-bundle.ts'
import { readBundle } from './read-bundle.ts'
import { unpack } from './unpack.ts'
import { writeBundle } from './write-bundle.ts'

async function state(upstreams: readonly Upstream[] = []): Promise<PccsState & { folder: string }> {
  const folder = await newFolder()
  const mode = upstreams.length === 0 ? 'OFFLINE' : 'LAZY'
  const roots = [PLATFORM.trustRoot]
  const opened = await openState({ dataDir: folder, mode, upstreams, roots, now: () => AT })
  return { ...opened, folder }
}

async function collected() {
  const upstream = await startPcs()
  const from = await state([upstream.pcs])
  await collect(from, { platforms: [registration()], fmspcs: [FMSPC] })
  const numbered: DocumentName = {
    ...{ kind: 'tcbInfo', tee: 'sgx', fmspc: FMSPC, edition: 2, api: 4 },
  }
  await from.documents.obtain(numbered)
  const { bundle } = await writeBundle(from)
  return JSON.parse(JSON.stringify(bundle))
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
const keptIn = async (folder: string) => await readdir(join(folder, 'documents')).catch(() => [])

describe('a bundle', () => {
  it('brings everything of a platform to where nothing is reached', async () => {
    const closed = await state()
    const report = await importBundle(readBundle(await collected()), closed)
    expect(report).toMatchObject({ platforms: 1, older: [], refused: [] })
    const kept = await keptIn(closed.folder)
    for (const key of [
      'identity-qae-standard',
      'evaluation-numbers-tdx',
      `tcb-info-v4-sgx-${FMSPC}-2`,
    ]) {
      expect(kept).toContain(`${key}.document`)
    }
    const { pck } = await closed.platforms.pckFor({
      ...{ qeId: QEID.toUpperCase(), pceId: '0000', encryptedPpid: '' },
      ...{ cpuSvn: '05'.repeat(16), pceSvn: '0D00' },
    })
    expect(pck.tcbm.slice(0, 2)).toBe('05')
    const again = await writeBundle(closed)
    const second = await state()
    const both = await importBundle(readBundle(JSON.parse(JSON.stringify(again.bundle))), second)
    expect([both.documents, both.platforms]).toEqual([report.documents, report.platforms])
  })

  it('is unpacked into collateral that verifies evidence', async () => {
    const closed = await state()
    await importBundle(readBundle(await collected()), closed)
    const out = await newFolder()
    const files = await unpack(closed, out)
    expect(files.map(({ tee, ca }) => [tee, ca]).sort()).toEqual([
      ['sgx', 'platform'],
      ['tdx', 'platform'],
    ])
    const read = async (name: string) =>
      readCollateralJson(JSON.parse(await readFile(join(out, name), 'utf8')))
    const roots = [PLATFORM.trustRoot]
    const enclave = PLATFORM.quote({
      ...{ mrEnclave: new Uint8Array(32), mrSigner: new Uint8Array(32), isvProdId: 0, isvSvn: 0 },
      ...{ debug: false, reportData: new Uint8Array(64) },
    })
    const sgx = await read(`${FMSPC}.json`)
    expect(verifyEvidence({ evidence: enclave, collateral: sgx, roots, at: AT }).kind).toBe(
      'enclave',
    )
    const tdx = await read(`${FMSPC}.tdx.json`)
    const td = PLATFORM.quoteTd({})
    expect(verifyEvidence({ evidence: td, collateral: tdx, roots, at: AT }).kind).toBe('td')
  })

  it('is also what Intel’s tool writes, of either version', async () => {
    const own = await collected()
    const { cloister: _, ...intels } = own
    const closed = await state()
    expect((await importBundle(readBundle(intels), closed)).refused).toEqual([])
    const { tcbInfo, tcbInfoSignature, tcbInfoIssuerChain, rootCaCrl, pckCrl, pckCrlIssuerChain } =
      PLATFORM.collateral(AT, { version: 2 })
    const v3 = {
      platforms: [],
      collaterals: {
        ...{ version: 3, pck_certs: [], pckcacrl: { platformCrl: hex(pckCrl) } },
        tcbinfos: [
          {
            fmspc: FMSPC,
            tcbinfo: { tcbInfo: JSON.parse(tcbInfo), signature: hex(tcbInfoSignature) },
          },
        ],
        ...{ qeidentity: '', qveidentity: '', rootcacrl: hex(rootCaCrl) },
        certificates: {
          'SGX-PCK-Certificate-Issuer-Chain': { PLATFORM: encodeURIComponent(pckCrlIssuerChain) },
          'SGX-TCB-Info-Issuer-Chain': encodeURIComponent(tcbInfoIssuerChain),
          'SGX-Enclave-Identity-Issuer-Chain': '',
        },
      },
    }
    const older = await state()
    expect(await importBundle(readBundle(v3), older)).toMatchObject({ documents: 3, refused: [] })
    expect(await keptIn(older.folder)).toContain(`tcb-info-v3-sgx-${FMSPC}-standard.document`)
  })
})

describe('a bundle that is not genuine', () => {
  const other = platformAt(AT)
  type Json = Awaited<ReturnType<typeof collected>>
  const altered: readonly (readonly [string, (bundle: Json) => void])[] = [
    [
      'a changed level',
      ({ collaterals }) => {
        collaterals.tcbinfos[0].sgx_tcbinfo.tcbInfo.tcbLevels[0].tcbStatus = 'Revoked'
      },
    ],
    [
      'a changed identity',
      ({ collaterals }) => {
        collaterals.qeidentity = collaterals.qeidentity.replace('UpToDate', 'uPToDate')
      },
    ],
    [
      'documents that changed places',
      ({ collaterals }) => {
        collaterals.tdqeidentity = collaterals.qeidentity
      },
    ],
    [
      'another root’s list',
      ({ collaterals }) => {
        collaterals.rootcacrl = hex(other.collateral(AT).rootCaCrl)
      },
    ],
    [
      'another platform’s certificate among the others',
      ({ collaterals }) => {
        const [first] = collaterals.pck_certs[0].certs
        const pem = PLATFORM.pckCertificate({ ppid: new Uint8Array(16) })
        const end = '-----END CERTIFICATE-----\n'
        first.cert = encodeURIComponent(pem.slice(0, pem.indexOf(end) + end.length))
      },
    ],
    [
      'another vendor’s certificates',
      ({ collaterals }) => {
        const chain = encodeURIComponent(other.collateral(AT).pckCrlIssuerChain)
        collaterals.certificates['SGX-PCK-Certificate-Issuer-Chain'].PLATFORM = chain
      },
    ],
    [
      'a document of our own member changed',
      ({ cloister }) => {
        cloister.documents[0].body = Buffer.from('{}').toString('base64')
      },
    ],
  ]

  it.each(altered)(
    'with %s is refused whole, and taken without it where told',
    async (_what, alter) => {
      const bundle = await collected()
      alter(bundle)
      const closed = await state()
      const run = importBundle(readBundle(bundle), closed)
      await expect(run).rejects.toThrow(BundleError)
      await run.catch((error: BundleError) => expect(error.reasons.length).toBeGreaterThan(0))
      expect(await keptIn(closed.folder)).toEqual([])
      expect(closed.records.size).toBe(0)
      const report = await importBundle(readBundle(bundle), closed, { partial: true })
      expect(report.refused.length).toBeGreaterThan(0)
      expect((await keptIn(closed.folder)).length).toBe(report.documents + report.platforms)
    },
  )

  it('of another installation is refused whole', async () => {
    const upstream = await startPcs({ platform: other })
    const theirs = await openState({
      ...{ dataDir: await newFolder(), mode: 'LAZY', upstreams: [upstream.pcs] },
      ...{ roots: [other.trustRoot], now: () => AT },
    })
    await collect(theirs, { platforms: [], fmspcs: [fmspcOf(other)] })
    const { bundle } = await writeBundle(theirs)
    const closed = await state()
    await expect(importBundle(readBundle(bundle), closed)).rejects.toThrow(BundleError)
    const report = await importBundle(readBundle(bundle), closed, { partial: true })
    expect([report.documents, report.platforms]).toEqual([0, 0])
  })

  it('takes no newer list back', async () => {
    const before = await collected()
    const closed = await state()
    const revoking = withSimConditions(PLATFORM, { revoked: ['tcbSigning'] })
    const { rootCaCrl, tcbInfoIssuerChain } = revoking.collateral(AT)
    const only = { ...before, cloister: { version: 1, documents: [] } }
    only.platforms = []
    only.collaterals = {
      ...{ version: 4, pck_certs: [], tcbinfos: [], rootcacrl: hex(rootCaCrl) },
      certificates: { 'TCB-Info-Issuer-Chain': encodeURIComponent(tcbInfoIssuerChain) },
    }
    await importBundle(readBundle(only), closed)
    // The bundle's own list is of the same second, and does not revoke: it is no older.
    const late = new Date(AT.getTime() - 60_000)
    const stale = PLATFORM.collateral(late)
    const old = structuredClone(only)
    old.collaterals.rootcacrl = hex(stale.rootCaCrl)
    const report = await importBundle(readBundle(old), closed)
    expect(report.older.map(({ document }) => document)).toEqual(['root-ca-crl'])
  })

  it('is refused with a code where a member takes megabytes', () => {
    const huge = 'ab'.repeat(8 << 20)
    const bundles = [
      { collaterals: { rootcacrl: huge } },
      { collaterals: { rootcacrl: `${huge}x`, certificates: {} } },
      { collaterals: { pckcacrl: { platformCrl: huge }, qeidentity: huge } },
      { platforms: [{ qe_id: 'a', pce_id: '0000', platform_manifest: huge }], collaterals: {} },
      { collaterals: { certificates: { 'TCB-Info-Issuer-Chain': huge } } },
    ]
    for (const bundle of bundles) {
      let code = 'none'
      try {
        for (const raw of readBundle(bundle).documents) {
          verifyDocument(raw, {}, { roots: [PLATFORM.trustRoot], at: AT })
        }
      } catch (error) {
        if (!(error instanceof CodedError)) throw error
        code = error.code
      }
      expect(code).not.toBe('none')
    }
  })

  it('is read or refused with a code, whatever it is', () => {
    const readable = (value: unknown) => {
      try {
        readBundle(value)
      } catch (error) {
        if (!(error instanceof CodedError)) throw error
      }
    }
    fc.assert(fc.property(fc.jsonValue(), readable))
    const member = fc.jsonValue()
    const shape = fc.record({
      platforms: fc.oneof(member, fc.array(member)),
      collaterals: fc.record(
        {
          ...{ pck_certs: member, tcbinfos: member, pckcacrl: member, rootcacrl: member },
          ...{ qeidentity: member, certificates: member },
        },
        { requiredKeys: [] },
      ),
      cloister: fc.oneof(member, fc.record({ version: fc.constant(1), documents: member })),
    })
    fc.assert(fc.property(shape, readable))
  })
})

describe('collecting', () => {
  it('tells what no upstream has, and stops at platforms that have nothing', async () => {
    const upstream = await startPcs()
    const from = await state([upstream.pcs])
    const missing = await collect(from, { platforms: [], fmspcs: [FMSPC], kind: 'all' })
    expect([...missing.keys()]).toEqual(['pck-crl-processor'])
    const unknown = collect(from, { platforms: [], fmspcs: ['00906ED50000'] })
    await expect(unknown).rejects.toThrow('tcb-info-v4-sgx-00906ed50000')
    const nothing = await startService(() => ({ status: 404 }))
    const empty = await state([nothing.pcs])
    await expect(collect(empty, { platforms: [registration()], fmspcs: [] })).rejects.toThrow(
      CodedError,
    )
    nothing.close()
    const away = await state([nothing.pcs])
    await expect(collect(away, { platforms: [], fmspcs: [FMSPC] })).rejects.toThrow('not reached')
    expect(PPID).toHaveLength(768)
  })
})
