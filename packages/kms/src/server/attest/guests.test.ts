import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  createSimSnpPlatform,
  readAppraisalPolicy,
  type SimSnpPlatform,
  type SimTd,
  TD_ATTRIBUTES,
  type Workload,
  workloadMeasurement,
} from '@cloister/attestation'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { AttestedSession } from '../../client/attested-session.ts'
import { collateralToJson } from '../../protocol/collateral.ts'
import { toHex } from '../../protocol/encoding.ts'
import type { JobStatement } from '../../protocol/job-statement.ts'
import { operatorOf } from '../accounts-flow.test.support.ts'
import { allow, refused, Scene, World } from '../flow.test.support.ts'

let world: World
let milan: SimSnpPlatform

const MIN_TCB = { bootLoader: 4, tee: 0, snp: 24, microcode: 219 }

const APPRAISAL = readAppraisalPolicy({
  version: 1,
  tees: ['sim'],
  platform: { tcbStatuses: ['UpToDate'] },
  snpPlatform: { minTcb: { Milan: MIN_TCB }, allowWithoutAliasCheck: true },
})

beforeAll(async () => {
  const at = new Date(Date.now() - 24 * 60 * 60 * 1000)
  milan = createSimSnpPlatform({ createdAt: at })
  world = await World.start({ appraisal: APPRAISAL, alsoRoots: [milan.trustRoot] })
  const tdx = JSON.stringify(collateralToJson(world.platform.tdxCollateral(at)))
  const { fmspc } = JSON.parse(world.platform.tdxCollateral(at).tcbInfo) as { fmspc: string }
  await writeFile(join(world.folder, `${fmspc.toLowerCase()}.tdx.json`), tdx)
  const { chipId, reportedTcb } = milan.defaults
  const snp = JSON.stringify(collateralToJson(milan.collateral(at)))
  await writeFile(join(world.folder, `${toHex(chipId)}-${toHex(reportedTcb)}.snp.json`), snp)
})

afterAll(() => world.stop())

const zero = new Uint8Array(48)

const tdOf = (change: Partial<SimTd> = {}): SimTd => ({
  mrTd: new Uint8Array(48).fill(0x11),
  rtmrs: [1, 2, 3, 4].map(fill => new Uint8Array(48).fill(fill)) as unknown as NonNullable<
    SimTd['rtmrs']
  >,
  ...change,
})

const guestOf = (change: object = {}) => ({
  measurement: new Uint8Array(48).fill(0x22),
  hostData: new Uint8Array(32).fill(0x33),
  ...change,
})

/** Two kinds of guests that are no enclaves, and how each is quoted. */
const KINDS = {
  td: {
    workload: (): Workload => {
      const { mrTd = zero, rtmrs = [zero, zero, zero, zero] } = tdOf()
      const [rtmr0, rtmr1, rtmr2, rtmr3] = rtmrs
      const configuration = { mrConfigId: zero, mrOwner: zero, mrOwnerConfig: zero }
      const registers = { mrTd, rtmr0, rtmr1, rtmr2, rtmr3 }
      return { kind: 'td', ...registers, ...configuration, mrServiceTd: zero, mrSeam: zero }
    },
    evidence: (reportData: Uint8Array, change: object = {}) =>
      world.platform.quoteTd({ ...tdOf(change), reportData }),
    tcbStatus: 'UpToDate',
  },
  snp: {
    workload: (): Workload => {
      const { hostData, measurement } = guestOf()
      const keys = { idKeyDigest: zero, authorKeyDigest: zero }
      return { kind: 'snp', launchMeasurement: measurement, hostData, ...keys }
    },
    evidence: (reportData: Uint8Array, change: object = {}) =>
      milan.report({ ...guestOf(change), reportData }),
    tcbStatus: 'MeetsAppraisal',
  },
} as const

type Kind = keyof typeof KINDS

/** A scene whose job is of a guest, with a policy for it. */
async function sceneOf(kind: Kind) {
  const scene = await Scene.make(world)
  const measurement = toHex(workloadMeasurement(KINDS[kind].workload()))
  const job: JobStatement = { ...scene.job, measurement }
  const [before] = await scene.owner.listPolicies()
  await scene.owner.removePolicy(before?.policyId ?? '')
  const attest = (change: object = {}, of = job) =>
    AttestedSession.attest({
      client: world.client(),
      tee: 'sim',
      job: of,
      quoteFor: async reportData => KINDS[kind].evidence(reportData, change),
    })
  const permit = (change: object = {}) =>
    scene.owner.addPolicy({
      template: {
        keyId: scene.keyId,
        images: [{ measurement }],
        allowAnyJob: true,
        tees: ['sim'],
        tcbStatuses: [KINDS[kind].tcbStatus],
        ...change,
      },
    })
  return { scene, job, measurement, attest, permit }
}

describe.each(['td', 'snp'] as const)('a guest of kind %s', kind => {
  it('is attested, gets keys by a policy, and moves a head', async () => {
    const { attest, job, measurement, permit, scene } = await sceneOf(kind)
    const { policyId } = await permit()
    const session = await attest()
    const { inputs } = await session.release(scene.parts())
    expect(inputs.get(scene.part.fileId)?.exposeBytes()).toEqual(scene.part.dek.exposeBytes())
    const datasetId = job.outputs[0]?.datasetId ?? ''
    const next = { version: 1, manifestDigest: 'ab'.repeat(32) }
    await session.commitHeads([{ datasetId, expected: null, next }])
    const [release] = (await scene.owner.audit()).filter(
      ({ entry }) => entry['action'] === 'release',
    )
    expect(release?.entry).toMatchObject({
      measurement,
      tee: 'sim',
      tcbStatus: KINDS[kind].tcbStatus,
      policies: [policyId],
    })
  })

  it('gets nothing without a policy that names its measurement, TEE and status', async () => {
    const { attest, permit, scene } = await sceneOf(kind)
    const session = await attest()
    await refused(session.release(scene.parts()), 'RELEASE_DENIED', ['NO_POLICY', 'NO_POLICY'])
    for (const [change, code] of [
      [{ images: [{ measurement: 'ff'.repeat(32) }] }, 'MEASUREMENT'],
      [{ tees: ['tdx', 'sev-snp', 'sgx'] }, 'TEE'],
      [{ tcbStatuses: ['OutOfDate'] }, 'TCB_STATUS'],
      [{ images: [{ mrSigner: '00'.repeat(32), isvProdId: 0, minIsvSvn: 0 }] }, 'MEASUREMENT'],
    ] as const) {
      const { policyId } = await permit(change)
      await refused(session.release(scene.parts()), 'RELEASE_DENIED', [code, code])
      await scene.owner.removePolicy(policyId)
    }
  })

  it('is another when any part of it is: what its host configured too', async () => {
    const { attest } = await sceneOf(kind)
    const other = { fill: (length: number) => new Uint8Array(length).fill(0x77) }
    const { rtmrs = [] } = tdOf()
    const changes =
      kind === 'td'
        ? [
            { mrTd: other.fill(48) },
            ...[0, 1, 2, 3].map(index => ({
              rtmrs: rtmrs.map((rtmr, at) => (at === index ? other.fill(48) : rtmr)),
            })),
            { mrConfigId: other.fill(48) },
            { mrOwner: other.fill(48) },
            { mrOwnerConfig: other.fill(48) },
            { mrServiceTd: other.fill(48) },
          ]
        : [{ measurement: other.fill(48) }, { hostData: other.fill(32) }]
    for (const change of changes) {
      await refused(attest(change), 'MEASUREMENT_MISMATCH', ['MEASUREMENT'])
    }
  })

  it('whose host can read its memory is refused', async () => {
    const { attest } = await sceneOf(kind)
    const debug =
      kind === 'td'
        ? { tdAttributes: TD_ATTRIBUTES.septVeDisable | TD_ATTRIBUTES.debug }
        : { policy: milan.defaults.policy | (1n << 19n) }
    await refused(attest(debug), 'APPRAISAL_REJECTED', ['DEBUG'])
  })

  it('is refused with a report bound to another run, and at a platform that nobody vouches for', async () => {
    const { attest, job } = await sceneOf(kind)
    const bound = { ...job, resources: { memoryMiB: 1 } }
    const replayed = AttestedSession.attest({
      client: world.client(),
      tee: 'sim',
      job: bound,
      quoteFor: async () => KINDS[kind].evidence(new Uint8Array(randomBytes(64))),
    })
    await refused(replayed, 'REPORT_DATA_MISMATCH')
    if (kind === 'td') return
    const stranger = { chipId: new Uint8Array(64).fill(5) }
    await refused(attest(stranger), 'COLLATERAL_UNAVAILABLE')
  })

  it('is pinned to its platform, and withdrawn, as an enclave is', async () => {
    const { attest, measurement, permit, scene } = await sceneOf(kind)
    const session = await attest()
    const size = kind === 'td' ? 16 : 64
    const pinned = await permit({ platforms: ['0'.repeat(2 * size)] })
    const denied = await refused(session.release(scene.parts()), 'RELEASE_DENIED')
    expect(denied.reasons.map(({ code }) => code)).toEqual(['PLATFORM', 'PLATFORM'])
    const platform = denied.reasons[0]?.seen ?? ''
    expect(platform).toMatch(new RegExp(`^[0-9a-f]{${2 * size}}$`))
    await scene.owner.removePolicy(pinned.policyId)
    await permit({ platforms: [platform] })
    await session.release(scene.parts())
    const { operator } = await operatorOf(world)
    const withdrawn = await operator.withdrawals.withdraw({
      kind: 'measurement',
      value: measurement,
    })
    await refused(attest(), 'WITHDRAWN', ['WITHDRAWN'])
    await refused(session.release(scene.parts()), 'RELEASE_DENIED', ['WITHDRAWN', 'WITHDRAWN'])
    await operator.withdrawals.undo(withdrawn.withdrawal.withdrawalId)
    await session.release(scene.parts())
  })

  it('gets no token of version 1, which tells of enclaves alone', async () => {
    const { job, scene } = await sceneOf(kind)
    const { body } = await scene.attestRaw({
      job,
      evidenceOf: reportData => KINDS[kind].evidence(reportData),
    })
    await refused(world.client().attest(body), 'TOKEN_INVALID', ['TOKEN_EVIDENCE'])
    await world.client().attest({ ...body, tokenVersion: 2 })
  })
})

describe('a policy', () => {
  it('in Cedar speaks of what a guest alone has', async () => {
    const { attest, measurement, scene } = await sceneOf('td')
    const text = (
      mrTd: string,
    ) => `permit (principal, action, resource == Cloister::Key::"${scene.keyId}")
      when { principal.kind == "td" && principal.measurement == "${measurement}" }
      when { principal has mrTd && principal.mrTd == "${mrTd}" };`
    const session = await attest()
    const wrong = await scene.owner.addPolicy({ cedar: text('00'.repeat(48)), allowAnyJob: true })
    await refused(session.release(scene.parts()), 'RELEASE_DENIED', ['CONDITION', 'CONDITION'])
    await scene.owner.removePolicy(wrong.policyId)
    await scene.owner.addPolicy({ cedar: text('11'.repeat(48)), allowAnyJob: true })
    await session.release(scene.parts())
  })

  it('by a signer of enclaves never admits a guest, and a guest’s signer is withdrawn by its key', async () => {
    const { attest, permit, scene } = await sceneOf('snp')
    const idKeyDigest = new Uint8Array(48).fill(0x44)
    await permit()
    const session = await attest({ idKeyDigest })
    await session.release(scene.parts())
    await scene.owner.withdrawals.withdraw({ kind: 'signer', value: toHex(idKeyDigest) })
    await refused(session.release(scene.parts()), 'RELEASE_DENIED', ['WITHDRAWN', 'WITHDRAWN'])
    await (await attest()).release(scene.parts())
  })

  it('of an enclave says nothing of guests, nor theirs of it', async () => {
    const { attest, scene } = await sceneOf('td')
    await allow(scene.owner, scene.keyId, scene.job)
    const session = await attest()
    const denied = await refused(session.release(scene.parts()), 'RELEASE_DENIED')
    expect(new Set(denied.reasons.map(({ code }) => code))).toEqual(
      new Set(['MEASUREMENT', 'JOB_DIGEST']),
    )
  })
})
