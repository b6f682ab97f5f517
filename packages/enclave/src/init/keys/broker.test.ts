import { newFileId } from '@cloister/sealed'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { layoutBelow } from '../../instance/layout.ts'
import { Scene, World } from '../../launcher/world.test.support.ts'
import { outputPartsToAskFor, planOutputs } from '../outputs.ts'
import { RecordingClient } from '../recording-client.ts'
import { attestHere } from './attested.test.support.ts'
import { KeyBroker } from './broker.ts'
import { BrokerOutput } from './output.ts'

let world: World
let client: RecordingClient
let broker: KeyBroker

/** Plays the instance here, so that the tests decide how patient it is. */
beforeAll(async () => {
  world = await World.start()
  const { job } = await Scene.make(world)
  client = new RecordingClient(world.kms.pin, {}, 1000)
  const session = await attestHere(world, client, job)
  const layout = layoutBelow('/')
  const planned = planOutputs(job, layout, '0'.repeat(16))
  const released = await session.release({
    inputs: new Map(),
    outputs: outputPartsToAskFor(planned),
  })
  const outputs = planned.map(output => new BrokerOutput(output))
  const attested = { tee: 'sim', kmsId: world.kms.pin.kmsId } as const
  broker = new KeyBroker({ session, attested, released, inputs: [], outputs, layout })
})

afterAll(async () => {
  client.close()
  await world.stop()
})

const create = (...files: readonly { fileId: string; fixedDigest: string }[]) =>
  broker.answer(Buffer.from(JSON.stringify({ ask: 'create', output: 'result', files })))

describe('a key broker', () => {
  it('says when the key service is away for longer than it waits; then the same may be asked', async () => {
    const file = { fileId: newFileId(), fixedDigest: 'ab'.repeat(32) }
    await world.kms.close()
    const began = performance.now()
    await expect(create(file)).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    // It has tried for a while, and not for as long as one that seals results at the end.
    expect(performance.now() - began).toBeGreaterThan(500)
    expect(performance.now() - began).toBeLessThan(20_000)
    await world.restart()
    expect(await create(file)).toMatchObject({
      files: { [file.fileId]: { dek: expect.stringMatching(/^[\w-]{43}$/), slots: [{}] } },
    })
    await expect(create(file)).rejects.toMatchObject({ code: 'DENIED' })
  })

  it('gives one of two that ask at once for the same file id its key', async () => {
    const file = { fileId: newFileId(), fixedDigest: 'cd'.repeat(32) }
    const results = await Promise.allSettled([create(file), create(file)])
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected'])
  })

  it('shows executors what was committed, which they cannot commit', async () => {
    const ask = (request: object) =>
      broker.answer(Buffer.from(JSON.stringify(request)), 'executor-1')
    const written = { ask: 'written', output: 'result', from: 0, size: 1000 }
    expect(await ask(written)).toEqual({ commits: 0, total: 0, parts: [] })
    const commit = { ask: 'commit', output: 'result', mode: 'replace', parts: [] }
    await expect(ask(commit)).rejects.toMatchObject({ code: 'DENIED' })
    await broker.answer(Buffer.from(JSON.stringify(commit)))
    expect(await ask(written)).toEqual({ commits: 1, total: 0, parts: [] })
    const reopen = { ask: 'reopen', output: 'result', files: [newFileId()] }
    await expect(ask(reopen)).rejects.toMatchObject({ code: 'UNKNOWN_FILE' })
    await expect(ask({ ...written, size: 1001 })).rejects.toMatchObject({ code: 'MALFORMED' })
  })

  it('gives at most a hundred keys at a time', async () => {
    const files = Array.from({ length: 101 }, () => ({
      ...{ fileId: newFileId(), fixedDigest: 'ef'.repeat(32) },
    }))
    await expect(create(...files)).rejects.toMatchObject({ code: 'MALFORMED' })
    expect(await create(...files.slice(1))).toHaveProperty('files')
  })
})
