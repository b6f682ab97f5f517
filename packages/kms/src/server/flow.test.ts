import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { JobStatement } from '../protocol/job-statement.ts'
import { allow, refused, Scene, World } from './flow.test.support.ts'

let world: World

beforeAll(async () => {
  world = await World.start()
})

afterAll(async () => {
  await world.stop()
})

const digest = () => randomBytes(32).toString('hex')

describe('attest and release', () => {
  it('gives an attested instance the keys of its job, and moves its output', async () => {
    const scene = await Scene.make(world)
    const session = await scene.attest()
    const { output, ...parts } = scene.parts()
    const released = await session.release(parts)

    const dek = released.inputs.get(scene.part.fileId)
    expect(dek?.exposeBytes()).toEqual(scene.part.dek.exposeBytes())
    expect(released.heads.get(scene.inputId)?.version).toBe(1)
    const [declared] = scene.job.outputs
    const outputId = declared?.datasetId ?? ''
    expect(released.heads.get(outputId)).toBeNull()

    const next = { version: 1, manifestDigest: digest() }
    const move = { datasetId: outputId, expected: null, next }
    const { statement } = await session.commitHeads([move])
    expect(statement.heads[outputId]?.writerKey).toBe(session.writerKey)
    expect((await scene.owner.getHead(outputId))?.manifestDigest).toBe(next.manifestDigest)

    // What one job wrote, another reads.
    const sealed = released.outputs.get(output.fileId)
    if (sealed === undefined) throw new Error('an output key was released')
    const again: JobStatement = {
      ...scene.job,
      inputs: [{ name: 'result', datasetId: outputId, version: 1, format: 'csv' }],
      outputs: [],
      command: { kind: 'exec', argv: ['/bin/true'] },
    }
    await allow(scene.owner, scene.keyId, again)
    const reader = await scene.attest(again)
    const read = await reader.release({
      inputs: new Map([[outputId, [{ ...output, slot: sealed.slot }]]]),
      outputs: new Map(),
    })
    expect(read.inputs.get(output.fileId)?.exposeBytes()).toEqual(sealed.dek.exposeBytes())
    expect(read.heads.get(outputId)?.writerKey).toBe(session.writerKey)
  })

  it('tells the owner in the audit log what was released and what was denied', async () => {
    const scene = await Scene.make(world)
    await (await scene.attest()).release(scene.parts())
    await scene.owner.disableKey(scene.keyId)
    await refused((await scene.attest()).release(scene.parts()), 'RELEASE_DENIED')
    const rows = (await scene.owner.audit()).map(({ entry }) => [entry['action'], entry['outcome']])
    expect(rows).toContainEqual(['release', 'released'])
    expect(rows.at(-1)).toEqual(['release', 'denied'])
  })

  it('lets a job move its head long after its token has expired', async () => {
    const scene = await Scene.make(world)
    const session = await scene.attest()
    await session.release(scene.parts())
    const [declared] = scene.job.outputs
    const move = {
      datasetId: declared?.datasetId ?? '',
      expected: null,
      next: { version: 1, manifestDigest: digest() },
    }
    try {
      world.clock.skewMs = 8 * 24 * 60 * 60 * 1000
      await refused(session.commitHeads([move]), 'TOKEN_EXPIRED')
      world.clock.skewMs = 60 * 60 * 1000
      await session.commitHeads([move])
    } finally {
      world.clock.skewMs = 0
    }
  })
})
