import { randomBytes } from 'node:crypto'
import { newDatasetId, newFileId } from '@cloister/sealed'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { AttestedSession } from '../../client/attested-session.ts'
import type { JobStatement } from '../../protocol/job-statement.ts'
import { allow, refused, Scene, World } from '../flow.test.support.ts'

let world: World
let scene: Scene

beforeAll(async () => {
  world = await World.start()
  scene = await Scene.make(world)
})

afterAll(async () => {
  await world.stop()
})

const newRunId = () => randomBytes(16).toString('hex')

/** The secret that a new instance of a job is given for a run. */
async function secretOf(runId: string, job?: JobStatement): Promise<string> {
  const session = await scene.attest(job)
  const { runSecret } = await session.release({ ...scene.parts(), runId })
  return Buffer.from(runSecret?.exposeBytes() ?? []).toString('hex')
}

/** What an instance asks for by itself, with full control over its request. */
async function jwsOf(session: AttestedSession, changes: object): Promise<string> {
  const [output] = scene.job.outputs
  const part = { fileId: newFileId(), fixedDigestHex: randomBytes(32).toString('hex') }
  const outputs = [
    { datasetId: output?.datasetId ?? '', cmkId: output?.cmkId ?? '', parts: [part] },
  ]
  return await scene.releaseJws(session, { outputs, runId: newRunId(), ...changes })
}

describe('the secret of a run', () => {
  it('is the same for every instance of the job, and for no other job or run', async () => {
    const runId = newRunId()
    const secret = await secretOf(runId)
    expect(secret).toMatch(/^[0-9a-f]{64}$/)
    expect(await secretOf(runId)).toBe(secret)
    expect(await secretOf(newRunId())).not.toBe(secret)
    const other = { ...scene.job, environment: { OTHER: 'job' } }
    await allow(scene.owner, scene.keyId, other)
    expect(await secretOf(runId, other)).not.toBe(secret)
    const rows = await scene.owner.audit()
    expect(rows.filter(({ entry }) => entry['runId'] === runId)).toHaveLength(3)
  })

  it('is given to nobody who did not ask', async () => {
    const { runSecret } = await (await scene.attest()).release(scene.parts())
    expect(runSecret).toBeUndefined()
  })

  it('goes with keys of every dataset of the job: each owner permits it, or nobody gets it', async () => {
    const session = await scene.attest()
    for (const changes of [{ outputs: [] }, { inputs: [] }, { inputs: [], outputs: [] }]) {
      const asked = world.client().release(await jwsOf(session, changes))
      const refusal = await refused(asked, 'RELEASE_DENIED')
      expect(new Set(refusal.reasons.map(({ code }) => code))).toEqual(new Set(['RUN_DATASET']))
    }
    expect(await world.client().release(await jwsOf(session, {}))).toMatch(/^ey/)
  })

  it('is refused with all keys where one owner does not permit the job', async () => {
    const stranger = await world.enrol()
    const { keyId } = await stranger.createKey({ mode: 'attested-only' })
    const [result] = scene.job.outputs
    const second = {
      name: 'second',
      datasetId: newDatasetId(),
      cmkId: keyId,
      format: 'csv',
    } as const
    const job = { ...scene.job, outputs: [...(result === undefined ? [] : [result]), second] }
    await allow(scene.owner, scene.keyId, job)
    const session = await scene.attest(job)
    const parts = scene.parts()
    const file = { fileId: newFileId(), fixedDigestHex: randomBytes(32).toString('hex') }
    const outputs = new Map([...parts.outputs, [second.datasetId, [file]]])
    const runId = newRunId()
    await refused(session.release({ ...parts, runId }), 'RELEASE_DENIED', ['RUN_DATASET'])
    await refused(session.release({ ...parts, outputs, runId }), 'RELEASE_DENIED', ['NO_POLICY'])
    await allow(stranger, keyId, job)
    expect(await session.release({ ...parts, outputs, runId })).toHaveProperty('runSecret')
  })

  it('is not for requests that continue a release, nor for run ids that are none', async () => {
    const session = await scene.attest()
    await session.release(scene.parts())
    const continues = { releaseIndex: 0, logSize: 1 }
    const late = await jwsOf(session, { inputs: [], continues })
    await refused(world.client().release(late), 'MALFORMED')
    const odd = await jwsOf(session, { runId: 'AB'.repeat(16) })
    await refused(world.client().release(odd), 'MALFORMED')
  })
})
