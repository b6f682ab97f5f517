import { describe, expect, it } from 'vitest'
import { type ShownToBoth, theirs } from './another-verifier.test.support.ts'
import type { Collateral } from './collateral/collateral.ts'
import { CodedError } from './errors.ts'
import { CASES, collateralOf, HAS_VECTORS, rootOfCase, SKIPPED } from './vectors.test.support.ts'
import { verifyEvidence } from './verify-evidence.ts'

const judged = CASES.flatMap(one => {
  const collateral = collateralOf(one)
  return collateral === undefined ? [] : [{ ...one, collateral }]
})
type Judged = (typeof judged)[number]

const inOrder = ({ evidence, collateral, expected }: Judged): ShownToBoth => ({
  evidence,
  collateral,
  seconds: expected.time,
})

function ours(one: Judged, { evidence, collateral, seconds }: ShownToBoth): string {
  try {
    const roots = [rootOfCase(one)]
    const at = new Date(seconds * 1000)
    return verifyEvidence({ evidence, collateral, roots, at }).tcbStatus
  } catch (error) {
    if (error instanceof CodedError) return 'refused'
    throw error
  }
}

/** Why the other refuses a case, or gives another status. */
const TCB_INFO_2 = 'it does not read TCB info of version 2, which old caches still serve'
const POLICY = 'it refuses debug within verification, where we leave it to policy'
const SERVICE_TD = 'it refuses a bound service TD within verification, where we leave it to policy'
const COMPONENTS =
  'it compares the first two TDX components under modules of major version 1 too; Intel’s algorithm leaves them to the module’s own identity'
const OWN_ROOT = 'it pins Intel’s root, and the case is under another'

const DIFFERENCES: Readonly<Record<string, string>> = {
  'sgx/cfl-openenclave-2022': TCB_INFO_2,
  'sgx/coffee-lake-out-of-date-tcbinfo-v2': TCB_INFO_2,
  'sgx/occlum-tcbinfo-v2-2025': TCB_INFO_2,
  'sgx/icelake-vault-proxy-2023': POLICY,
  'sgx/occlum-out-of-date-2025': POLICY,
  'tdx/v4-module10-out-of-date-2026': POLICY,
  'tdx/v4-module10-uptodate-2023': POLICY,
  'tdx/v5-alibaba-out-of-date-2026': SERVICE_TD,
  'tdx/v5-alibaba-uptodate-2025-06': SERVICE_TD,
  'tdx/v4-cos113-gcp': COMPONENTS,
  'tdx/v5-out-of-date-eval21': COMPONENTS,
  'tdx/v5-td-relaunch-advised': COMPONENTS,
  'sgx/own-root-intel-qvl-sample': OWN_ROOT,
}

/** Collateral that the other accepts: it looks for serials in lists, and verifies none of them. */
const lists = (collateral: Collateral): Readonly<Record<string, Partial<Collateral>>> => {
  const flipped = (list: Uint8Array) =>
    list.map((byte, at) => (at === list.length - 1 ? byte ^ 1 : byte))
  const { pckCrl, rootCaCrl, tcbInfoIssuerChain } = collateral
  return {
    'no PCK list': { pckCrl: new Uint8Array() },
    'garbage for a list': { pckCrl: new Uint8Array(64).fill(0x30) },
    'a PCK list with a bit of its signature flipped': { pckCrl: flipped(pckCrl) },
    'the root’s list with a bit of its signature flipped': { rootCaCrl: flipped(rootCaCrl) },
    'the root’s list for the CA’s': { pckCrl: rootCaCrl },
    'the CA’s list for the root’s': { rootCaCrl: pckCrl },
    'another chain for the list’s issuer': { pckCrlIssuerChain: tcbInfoIssuerChain },
  }
}

const phala = judged.find(({ name }) => name === 'tdx/v4-uptodate-phala-2025-06')
const old = judged.find(({ name }) => name === 'sgx/icelake-sw-hardening-2023')

describe.skipIf(!HAS_VECTORS)(`beside another verifier${SKIPPED}`, () => {
  it.each(judged)('$name: the same, or a documented reason', one => {
    const same = ours(one, inOrder(one)) === theirs(inOrder(one))
    expect([one.name, same]).toEqual([one.name, DIFFERENCES[one.name] === undefined])
  })

  it('has no reason that no case shows', () => {
    const names = judged.map(({ name }) => name)
    expect(Object.keys(DIFFERENCES).filter(name => !names.includes(name))).toEqual([])
  })

  it('revocation lists are evidence like any other to us, and not to it', () => {
    if (phala === undefined || old === undefined) throw new Error('the cases are there')
    const base = inOrder(phala)
    const { pckCrl, rootCaCrl } = old.collateral
    const changes = {
      ...lists(phala.collateral),
      'a PCK list years old': { pckCrl },
      'a root’s list years old': { rootCaCrl },
    }
    for (const [what, change] of Object.entries(changes)) {
      const shown = { ...base, collateral: { ...base.collateral, ...change } }
      expect([what, ours(phala, shown), theirs(shown)]).toEqual([what, 'refused', 'UpToDate'])
    }
  })

  it('both judge by the clock, and leave what follows a quote alone', () => {
    if (phala === undefined) throw new Error('the case is there')
    const base = inOrder(phala)
    for (const years of [-2, 2]) {
      const shown = { ...base, seconds: base.seconds + years * 365 * 24 * 60 * 60 }
      expect([ours(phala, shown), theirs(shown)]).toEqual(['refused', 'refused'])
    }
    const longer = { ...base, evidence: Buffer.concat([base.evidence, Buffer.from('more')]) }
    expect([ours(phala, longer), theirs(longer)]).toEqual(['UpToDate', 'UpToDate'])
  })
})
