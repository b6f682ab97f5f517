import { randomBytes } from 'node:crypto'
import { newFileId } from '@cloister/sealed'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { AttestedSession } from '../../client/attested-session.ts'
import type { EarlierRelease, ReleaseRequest } from '../../protocol/messages.ts'
import { refused, Scene, World } from '../flow.test.support.ts'

const HOUR_MS = 60 * 60 * 1000

let world: World

beforeAll(async () => {
  world = await World.start()
})

afterEach(() => {
  world.clock.skewMs = 0
})

afterAll(async () => {
  await world.stop()
})

const digest = () => randomBytes(32).toString('hex')
const outputIdOf = (scene: Scene) => scene.job.outputs[0]?.datasetId ?? ''
const newFile = () => ({ fileId: newFileId(), fixedDigestHex: digest() })

/** A running job: attested, with its inputs released. */
async function running(): Promise<{ readonly scene: Scene; readonly session: AttestedSession }> {
  const scene = await Scene.make(world)
  const session = await scene.attest()
  await session.release(scene.parts())
  return { scene, session }
}

/** Where a session's releases stand in the audit log, the first first. */
async function releasesOf({ scene }: { readonly scene: Scene }): Promise<readonly number[]> {
  const rows = await scene.owner.audit()
  return rows.flatMap(({ index, entry }) =>
    entry['action'] === 'release' && entry['outcome'] === 'released' ? index : [],
  )
}

/** A request for further output keys, as an instance with full control over it would sign it. */
async function laterJws(
  { scene, session }: { readonly scene: Scene; readonly session: AttestedSession },
  continues: EarlierRelease,
  changes: Partial<ReleaseRequest> = {},
): Promise<string> {
  const outputs = [
    { datasetId: outputIdOf(scene), cmkId: scene.keyId, parts: [newFile()] },
  ] as ReleaseRequest['outputs']
  return await scene.releaseJws(session, { inputs: [], outputs, continues, ...changes })
}

describe('an instance whose token has expired', () => {
  it('gets keys for further output files, and moves the head', async () => {
    const run = await running()
    world.clock.skewMs = 100 * HOUR_MS
    const files = Array.from({ length: 40 }, newFile)
    const outputId = outputIdOf(run.scene)
    const released = await run.session.releaseOutputs(new Map([[outputId, files]]))
    const keys = files.map(({ fileId }) => released.outputs.get(fileId))
    expect(keys.map(key => key?.slot.cmkId)).toEqual(files.map(() => run.scene.keyId))
    const deks = keys.map(key => Buffer.from(key?.dek.exposeBytes() ?? []).toString('hex'))
    expect(new Set(deks).size).toBe(files.length)
    expect(released.heads.get(outputId)).toBeNull()
    const next = { version: 1, manifestDigest: digest() }
    await run.session.commitHeads([{ datasetId: outputId, expected: null, next }])
    expect(await run.scene.owner.getHead(outputId)).toMatchObject(next)
    const [first, second] = await releasesOf(run)
    const rows = await run.scene.owner.audit()
    expect(rows.find(({ index }) => index === second)?.entry['continues']).toBe(first)
  })

  it('gets no key to an input', async () => {
    const run = await running()
    const [releaseIndex = -1] = await releasesOf(run)
    world.clock.skewMs = HOUR_MS
    const jws = await laterJws(run, { releaseIndex, logSize: 1 })
    expect(await world.client().release(jws)).toMatch(/^ey/)
    const whole = await run.scene.releaseJws(run.session, {
      continues: { releaseIndex, logSize: 1 },
    })
    await refused(world.client().release(whole), 'MALFORMED')
    await refused(run.session.release(run.scene.parts()), 'TOKEN_EXPIRED')
  })

  it('gets nothing under another’s release, or one that never was', async () => {
    const [run, other] = [await running(), await running()]
    const [own = -1] = await releasesOf(run)
    const [another = -1] = await releasesOf(other)
    world.clock.skewMs = HOUR_MS
    for (const continues of [
      { releaseIndex: another, logSize: 1 },
      { releaseIndex: own - 1, logSize: 1 },
      { releaseIndex: 1_000_000, logSize: 1 },
      { releaseIndex: own, logSize: 1_000_000 },
    ]) {
      const jws = await laterJws(run, continues)
      const [outcome] = await Promise.allSettled([world.client().release(jws)])
      // Where the row is another's, that one's time may be before this token's.
      expect(outcome).toMatchObject({
        status: 'rejected',
        reason: { code: expect.stringMatching(/^(RELEASE_DENIED|TOKEN_INVALID)$/) },
      })
    }
  })

  it('gets nothing a week later', async () => {
    const run = await running()
    world.clock.skewMs = 8 * 24 * HOUR_MS
    const asked = run.session.releaseOutputs(new Map([[outputIdOf(run.scene), [newFile()]]]))
    await refused(asked, 'TOKEN_EXPIRED')
  })

  it('gets nothing under a key that was disabled, or another than the job says', async () => {
    const run = await running()
    const [releaseIndex = -1] = await releasesOf(run)
    world.clock.skewMs = HOUR_MS
    const { keyId } = await run.scene.owner.createKey({ mode: 'attested-only' })
    const outputs = [
      { datasetId: outputIdOf(run.scene), cmkId: keyId, parts: [newFile()] },
    ] as ReleaseRequest['outputs']
    const jws = await laterJws(run, { releaseIndex, logSize: 1 }, { outputs })
    await refused(world.client().release(jws), 'RELEASE_DENIED', ['OUTPUT_KEY'])
    await run.scene.owner.disableKey(run.scene.keyId)
    const asked = run.session.releaseOutputs(new Map([[outputIdOf(run.scene), [newFile()]]]))
    await refused(asked, 'RELEASE_DENIED', ['KEY_DISABLED'])
  })

  it('is not answered twice', async () => {
    const run = await running()
    const [releaseIndex = -1] = await releasesOf(run)
    world.clock.skewMs = 2 * HOUR_MS
    const jws = await laterJws(run, { releaseIndex, logSize: 1 })
    await world.client().release(jws)
    world.clock.skewMs = 100 * HOUR_MS
    await refused(world.client().release(jws), 'REQUEST_REPLAYED')
  })

  it('cannot make a release of a later one', async () => {
    const run = await running()
    world.clock.skewMs = HOUR_MS
    await run.session.releaseOutputs(new Map([[outputIdOf(run.scene), [newFile()]]]))
    const [, later = -1] = await releasesOf(run)
    world.clock.skewMs = 2 * HOUR_MS
    const jws = await laterJws(run, { releaseIndex: later, logSize: 1 })
    await refused(world.client().release(jws), 'TOKEN_EXPIRED')
  })
})
