import { describe, expect, it } from 'vitest'
import type { Collateral } from '../collateral/collateral.ts'
import { CodedError } from '../errors.ts'
import { createSimPlatform } from '../sim/platform.ts'
import { qeIdentityWith, tcbInfoWith } from '../sim/signed-anew.test.support.ts'
import { SIM_TDX, type SimTd, type SimTdxConditions } from '../sim/td.ts'
import { verifyEvidence } from '../verify-evidence.ts'

/**
 * Rules that few documents bring to bear: each is one that Intel's own verification library has (its
 * sources: QuoteVerification/QVL, `TcbInfo`, `EnclaveIdentity`, `TdxModuleIdentity`, `QuoteVerifier`,
 * `TDRelaunchCheck`), told by documents that a simulated vendor signed.
 */
const AT = new Date('2026-03-01T00:00:00Z')
const platform = createSimPlatform({ createdAt: new Date('2026-02-01T00:00:00Z') })
const ENCLAVE = {
  ...{ mrEnclave: new Uint8Array(32).fill(1), mrSigner: new Uint8Array(32).fill(2) },
  ...{ isvProdId: 1, isvSvn: 1, debug: false, reportData: new Uint8Array(64) },
}

interface Level {
  tcb: { isvsvn: number }
  tcbDate: string
  tcbStatus: string
  advisoryIDs?: string[]
}
interface TcbInfo {
  [member: string]: unknown
  tcbType: unknown
  tcbLevels: {
    tcb: {
      pcesvn: number
      sgxtcbcomponents: { svn: number; category?: string; type?: string }[]
      tdxtcbcomponents: { svn: number }[]
    }
    tcbDate: string
    tcbStatus: string
    advisoryIDs?: string[]
  }[]
  tdxModule: { mrsigner: string; attributes: string; attributesMask: string }
  tdxModuleIdentities: {
    id: string
    mrsigner: string
    attributes: string
    attributesMask: string
    tcbLevels: Level[]
  }[]
}
interface Identity {
  [member: string]: unknown
  id: string
  tcbLevels: Level[]
}

/** A change of a document in place, or by members that are put into it (`undefined` leaves one out). */
type Change<Document> = (document: Document) => unknown

const edited =
  <Document extends object>(change: Change<Document>) =>
  (text: string) => {
    const document = JSON.parse(text) as Document
    return JSON.stringify(Object.assign(document, change(document)))
  }

const sgx = (change: Change<TcbInfo>) =>
  verdict(platform.quote(ENCLAVE), tcbInfoWith(platform, platform.collateral(AT), edited(change)))
const tdx = (change: Change<TcbInfo>, td: SimTd = {}, tdxConditions?: SimTdxConditions) =>
  verdict(
    platform.quoteTd(td),
    tcbInfoWith(platform, platform.tdxCollateral(AT, tdxConditions), edited(change)),
  )
const qe = (change: Change<Identity>) =>
  verdict(
    platform.quote(ENCLAVE),
    qeIdentityWith(platform, platform.collateral(AT), edited(change)),
  )

/** A status, or the class and code of the refusal. */
function verdict(evidence: Uint8Array, collateral: Collateral): string {
  try {
    return verifyEvidence({ evidence, collateral, roots: [platform.trustRoot], at: AT }).tcbStatus
  } catch (error) {
    if (error instanceof CodedError) return `${error.name} ${String(error.code)}`
    throw error
  }
}

const FORMAT = 'CollateralError FORMAT'
const svns = (...bytes: readonly number[]) => Uint8Array.of(...bytes, ...new Uint8Array(13))

describe('TCB info', () => {
  it('is of TCB type 0, the one there is', () => {
    expect(sgx(() => ({ tcbType: 0 }))).toBe('UpToDate')
    expect(sgx(() => ({ tcbType: 1 }))).toBe('CollateralError VERSION')
    expect(sgx(() => ({ tcbType: undefined }))).toBe('CollateralError VERSION')
  })

  it('has levels, and none of them twice', () => {
    expect(sgx(() => ({ tcbLevels: [] }))).toBe(FORMAT)
    expect(sgx(info => void info.tcbLevels.push(...info.tcbLevels.slice(0, 1)))).toBe(FORMAT)
    // The same components under another status or date are the same level.
    expect(
      tdx(info => void info.tcbLevels.push(...structuredClone(info.tcbLevels.slice(0, 1)))),
    ).toBe(FORMAT)
    expect(
      sgx(info => {
        const [level] = structuredClone(info.tcbLevels)
        if (level !== undefined) info.tcbLevels.push({ ...level, tcbStatus: 'Revoked' })
      }),
    ).toBe(FORMAT)
  })

  it('of SGX tells of no TDX module', () => {
    expect(sgx(() => ({ tdxModule: {} }))).toBe(FORMAT)
    expect(sgx(() => ({ tdxModuleIdentities: [] }))).toBe(FORMAT)
  })

  it('of TDX may leave the module identities out, and lists some where it does not', () => {
    const without = () => ({ tdxModuleIdentities: undefined })
    const base = { teeTcbSvn: svns(SIM_TDX.moduleSvn, 0, SIM_TDX.loaderSvn) }
    expect(tdx(without, base)).toBe('UpToDate')
    expect(tdx(without)).toBe('EvidenceError TDX_MODULE')
    expect(tdx(() => ({ tdxModuleIdentities: [] }), base)).toBe(FORMAT)
  })

  it('may be in any order: the highest level that is reached counts', () => {
    expect(sgx(info => void info.tcbLevels.reverse())).toBe('UpToDate')
    expect(tdx(info => void info.tcbLevels.reverse())).toBe('UpToDate')
    expect(
      tdx(info => {
        for (const module of info.tdxModuleIdentities) module.tcbLevels.reverse()
      }),
    ).toBe('UpToDate')
    expect(qe(identity => void identity.tcbLevels.reverse())).toBe('UpToDate')
  })

  it('may say more than is known: of a component, a level, or as a whole', () => {
    expect(
      sgx(info => {
        info['comment'] = { of: ['a', 'later', 'version'] }
        for (const level of info.tcbLevels) {
          Object.assign(level, { note: 1 })
          for (const part of level.tcb.sgxtcbcomponents) {
            Object.assign(part, { category: 'BIOS', type: 'Early Microcode Update' })
          }
        }
      }),
    ).toBe('UpToDate')
  })

  it.each(['Unknown', 'uptodate', 'TDRelaunchAdvised', '', null])('has no status %s', status => {
    expect(
      sgx(info => {
        for (const level of info.tcbLevels) level.tcbStatus = status as string
      }),
    ).toBe(FORMAT)
  })

  it.each([
    ...[
      '2026-02-30T00:00:00Z',
      '2026-02-28T24:00:00Z',
      '2026-02-28T00:00:00z',
      '2026-02-28T00:00:00.000Z',
    ],
    ...['2026-02-28T00:00:00+00:00', '2026-02-28', '2026-02-28T00:00:00', '2026-2-28T00:00:00Z'],
    ...['+02026-02-28T00:00:00Z', ' 2026-02-28T00:00:00Z', 1772236800, null],
  ])('is not issued on %s', issueDate => {
    expect(sgx(() => ({ issueDate: issueDate }))).toBe(FORMAT)
  })

  it('nested deeper than any stack is refused like any other', () => {
    const deep = (text: string) =>
      text.replace(/}$/, `,"deep":${'['.repeat(100_000)}${']'.repeat(100_000)}}`)
    const collateral = tcbInfoWith(platform, platform.collateral(AT), deep)
    expect(verdict(platform.quote(ENCLAVE), collateral)).toBe(FORMAT)
  })
})

describe('an enclave identity', () => {
  it('has levels, and none of them twice', () => {
    expect(qe(() => ({ tcbLevels: [] }))).toBe(FORMAT)
    expect(qe(identity => void identity.tcbLevels.push(...identity.tcbLevels.slice(0, 1)))).toBe(
      FORMAT,
    )
  })

  it.each([
    ...['ConfigurationNeeded', 'SWHardeningNeeded', 'ConfigurationAndSWHardeningNeeded'],
    ...['OutOfDateConfigurationNeeded', 'TDRelaunchAdvised', 'Unknown'],
  ])('has no status %s: it would converge into nothing', status => {
    const change = (levels: readonly Level[]) => {
      for (const level of levels) level.tcbStatus = status
    }
    expect(qe(identity => change(identity.tcbLevels))).toBe(FORMAT)
    // Nor has a TDX module.
    expect(
      tdx(info => {
        for (const module of info.tdxModuleIdentities) change(module.tcbLevels)
      }),
    ).toBe(FORMAT)
  })

  it('of another enclave does not describe a quoting enclave', () => {
    for (const id of ['TD_QE', 'QVE', 'QAE']) {
      expect(qe(() => ({ id: id }))).toBe('CollateralError VERSION')
    }
  })

  it('may bear another evaluation number than the TCB info', () => {
    const change = edited<Identity>(() => ({ tcbEvaluationDataNumber: 99 }))
    const collateral = qeIdentityWith(platform, platform.collateral(AT), change)
    const evidence = platform.quote(ENCLAVE)
    const claims = verifyEvidence({ evidence, collateral, roots: [platform.trustRoot], at: AT })
    expect(claims.qeTcbEvaluationDataNumber).toBe(99)
    expect(claims.tcbEvaluationDataNumber).toBe(platform.conditions.tcbEvaluationDataNumber)
  })
})

describe('a TDX module', () => {
  it('is found by its major version in hexadecimal, whichever case the id is written in', () => {
    const named = (id: string) => (info: TcbInfo) => {
      for (const module of info.tdxModuleIdentities) module.id = id
    }
    const td = { teeTcbSvn: svns(SIM_TDX.moduleSvn, 0x1a, SIM_TDX.loaderSvn) }
    expect(tdx(named('TDX_1A'), td)).toBe('UpToDate')
    expect(tdx(named('tdx_1a'), td)).toBe('UpToDate')
    expect(tdx(named('TDX_26'), td)).toBe('EvidenceError TDX_MODULE')
    expect(tdx(named('TDX_1'), td)).toBe(FORMAT)
  })

  it('has SEAMATTRIBUTES of zero, whatever a mask or the identity would allow', () => {
    const attributes = Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0)
    const allowing = (attributesMask: string, value: string) => (info: TcbInfo) => {
      for (const module of [info.tdxModule, ...info.tdxModuleIdentities]) {
        Object.assign(module, { attributesMask, attributes: value })
      }
    }
    const none = '00'.repeat(8)
    const odd = `01${'00'.repeat(7)}`
    for (const major of [0, 1]) {
      const teeTcbSvn = svns(SIM_TDX.moduleSvn, major, SIM_TDX.loaderSvn)
      const odds = { teeTcbSvn, seamAttributes: attributes }
      expect(tdx(allowing(none, none), { teeTcbSvn })).toBe('UpToDate')
      expect(tdx(allowing(none, none), odds)).toBe('EvidenceError TDX_MODULE')
      expect(tdx(allowing('FF'.repeat(8), odd), odds)).toBe('EvidenceError TDX_MODULE')
      expect(tdx(allowing('FF'.repeat(8), odd), { teeTcbSvn })).toBe('EvidenceError TDX_MODULE')
    }
  })

  it('is told apart from the one that runs now only where a relaunch is asked after', () => {
    const old: SimTdxConditions = { moduleTcbStatus: 'OutOfDate' }
    const none = () => {}
    const now = (...bytes: readonly number[]) => ({ teeTcbSvn2: svns(...bytes) })
    const { moduleSvn, moduleMajor, loaderSvn } = SIM_TDX
    expect(tdx(none, now(moduleSvn + 1, moduleMajor, loaderSvn), old)).toBe('TDRelaunchAdvised')
    // Updated, but not to the newest, or under an old loader.
    expect(tdx(none, now(moduleSvn, moduleMajor, loaderSvn), old)).toBe('OutOfDate')
    expect(tdx(none, now(moduleSvn + 1, moduleMajor, loaderSvn - 1), old)).toBe('OutOfDate')
    // Base module: its version is counted by the first level of the TCB info.
    expect(tdx(none, now(moduleSvn, 0, loaderSvn), old)).toBe('TDRelaunchAdvised')
    expect(tdx(none, now(moduleSvn - 1, 0, loaderSvn), old)).toBe('OutOfDate')
    // A module that nobody has published an identity of runs there now.
    expect(tdx(none, now(moduleSvn + 1, 9, loaderSvn), old)).toBe('EvidenceError TDX_MODULE')
    // Nobody asks where the module is in order.
    expect(tdx(none, now(moduleSvn + 1, 9, loaderSvn))).toBe('UpToDate')
  })
})
