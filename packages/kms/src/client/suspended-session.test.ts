import { randomBytes } from 'node:crypto'
import { newFileId } from '@cloister/sealed'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { refused, Scene, World } from '../server/flow.test.support.ts'
import { AttestedSession } from './attested-session.ts'

let world: World
let another: World

beforeAll(async () => {
  world = await World.start()
  another = await World.start()
})

afterAll(async () => {
  await world.stop()
  await another.stop()
})

const digest = () => randomBytes(32).toString('hex')
const textOf = (bytes: Uint8Array) => new TextDecoder().decode(bytes)

/** A session that was suspended after its release. */
async function suspended() {
  const scene = await Scene.make(world)
  const session = await scene.attest()
  await session.release(scene.parts())
  return { scene, session, bytes: session.suspend() }
}

describe('a session that another process goes on with', () => {
  it('gets further keys, and moves the head, as the one that was attested', async () => {
    const { scene, session, bytes } = await suspended()
    const resumed = AttestedSession.resume({ client: world.client(), job: scene.job }, bytes)
    expect(resumed.writerKey).toBe(session.writerKey)
    expect(resumed.evidence).toEqual(session.evidence)
    const outputId = scene.job.outputs[0]?.datasetId ?? ''
    const part = { fileId: newFileId(), fixedDigestHex: digest() }
    const released = await resumed.releaseOutputs(new Map([[outputId, [part]]]))
    expect([...released.outputs.keys()]).toEqual([part.fileId])
    const next = { version: 1, manifestDigest: digest() }
    await resumed.commitHeads([{ datasetId: outputId, expected: null, next }])
    expect(await scene.owner.getHead(outputId)).toMatchObject(next)
    expect(resumed.suspend()).toEqual(bytes)
  })

  it('is not suspended before a release', async () => {
    const session = await (await Scene.make(world)).attest()
    expect(() => session.suspend()).toThrow(TypeError)
  })

  it('is none of another job, or with another key service', async () => {
    const { scene, bytes } = await suspended()
    const job = { ...scene.job, resources: { memoryMiB: 256 } }
    const resumed = async (client: typeof scene.owner, of: typeof job) =>
      AttestedSession.resume({ client, job: of }, bytes)
    await refused(resumed(world.client(), job), 'MALFORMED')
    await refused(resumed(another.client(), scene.job), 'MALFORMED')
  })

  it('is none that was cut, added to, or whose keys are others', async () => {
    const { scene, bytes } = await suspended()
    const session: Record<string, unknown> = JSON.parse(textOf(bytes))
    const changed = [
      textOf(bytes).slice(0, -1),
      '[]',
      JSON.stringify({ ...session, more: 1 }),
      JSON.stringify({ ...session, version: 2 }),
      JSON.stringify({ ...session, signKey: 'AAAA' }),
      JSON.stringify({ ...session, collateral: {} }),
      JSON.stringify({ ...session, release: null }),
    ]
    for (const text of changed) {
      const resumed = async () =>
        AttestedSession.resume(
          { client: world.client(), job: scene.job },
          new TextEncoder().encode(text),
        )
      await refused(resumed(), 'MALFORMED')
    }
  })
})
