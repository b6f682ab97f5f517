import { describe, expect, it } from 'vitest'
import { theirs } from './another-verifier.test.support.ts'
import { TCB_STATUSES } from './collateral/tcb-status.ts'
import { CodedError } from './errors.ts'
import type { SimConditions } from './sim/conditions.ts'
import { createSimPlatform, stateOf, withSimConditions } from './sim/platform.ts'
import { SIM_TDX } from './sim/td.ts'
import { verifyEvidence } from './verify-evidence.ts'

const AT = new Date('2026-03-01T00:00:00Z')
const platform = createSimPlatform({ createdAt: new Date('2026-02-01T00:00:00Z') })
const { root } = stateOf(platform).certificates
const ENCLAVE = {
  ...{ mrEnclave: new Uint8Array(32).fill(1), mrSigner: new Uint8Array(32).fill(2) },
  ...{ isvProdId: 1, isvSvn: 1, debug: false, reportData: new Uint8Array(64) },
}
const BASE_MODULE = Uint8Array.of(
  ...[SIM_TDX.moduleSvn, 0, SIM_TDX.loaderSvn],
  ...new Uint8Array(13),
)

type Kind = 'enclave' | 'trust domain'

/** Both verdicts on a simulated platform under its own root: a status, or `refused`. */
function verdicts(kind: Kind, conditions: Partial<SimConditions>): readonly [string, string] {
  const on = withSimConditions(platform, conditions)
  const [evidence, collateral] =
    kind === 'enclave'
      ? [on.quote(ENCLAVE), on.collateral(AT)]
      : [on.quoteTd({ teeTcbSvn: BASE_MODULE }), on.tdxCollateral(AT)]
  const seconds = AT.getTime() / 1000
  return [ours({ evidence, collateral }), theirs({ evidence, collateral, seconds }, root)]

  function ours(shown: Pick<Parameters<typeof verifyEvidence>[0], 'evidence' | 'collateral'>) {
    try {
      const claims = verifyEvidence({ ...shown, roots: [platform.trustRoot], at: AT })
      return 'tcbStatus' in claims ? claims.tcbStatus : 'refused'
    } catch (error) {
      if (error instanceof CodedError) return 'refused'
      throw error
    }
  }
}

const REVOKED =
  'a revoked platform verifies here with that status, which policy refuses; it refuses within verification'
const OLD_LIST = 'it reads no dates of a revocation list'

const CONVERGENCE =
  'it takes the worse of two statuses; Intel’s algorithm keeps that the platform wants configuring beside an old quoting enclave'

const SAME: readonly (readonly [Kind, Partial<SimConditions>])[] = (
  ['enclave', 'trust domain'] as const
).flatMap(kind =>
  [
    ...TCB_STATUSES.flatMap(status =>
      status === 'Revoked' || status.startsWith('TDRelaunch')
        ? []
        : [{ tcbStatus: status as SimConditions['tcbStatus'] }],
    ),
    { qeTcbStatus: 'OutOfDate' as const },
    { tcbStatus: 'NotSupported' as const },
    { qeTcbStatus: 'NotSupported' as const },
    { revoked: ['pck' as const] },
    { revoked: ['platformCa' as const] },
    { revoked: ['tcbSigning' as const] },
    { expired: ['tcbInfo' as const] },
    { expired: ['qeIdentity' as const] },
    { wrongQe: true },
  ].map(conditions => [kind, conditions] as const),
)

const DIFFERENT: readonly (readonly [string, Partial<SimConditions>, string, string])[] = [
  [REVOKED, { tcbStatus: 'Revoked' }, 'Revoked', 'refused'],
  [REVOKED, { qeTcbStatus: 'Revoked' }, 'Revoked', 'refused'],
  [
    CONVERGENCE,
    { qeTcbStatus: 'OutOfDate', tcbStatus: 'ConfigurationNeeded' },
    'OutOfDateConfigurationNeeded',
    'OutOfDate',
  ],
  [OLD_LIST, { expired: ['rootCaCrl'] }, 'refused', 'UpToDate'],
  [OLD_LIST, { expired: ['pckCrl'] }, 'refused', 'UpToDate'],
]

describe('simulated platforms beside another verifier', () => {
  it.each(SAME)('%s, %o: the same', (kind, conditions) => {
    const [own, other] = verdicts(kind, conditions)
    expect(own).toBe(other)
  })

  it('has both verified and refused among them', () => {
    const own = SAME.map(([kind, conditions]) => verdicts(kind, conditions)[0])
    expect(own.filter(verdict => verdict === 'refused').length).toBeGreaterThan(10)
    expect(new Set(own).size).toBeGreaterThan(5)
  })

  it.each(DIFFERENT)('%s: %o', (_why, conditions, own, other) => {
    for (const kind of ['enclave', 'trust domain'] as const) {
      expect([kind, ...verdicts(kind, conditions)]).toEqual([kind, own, other])
    }
  })
})
