import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Scene, World } from '../server/flow.test.support.ts'
import { AttestedSession } from './attested-session.ts'
import { KmsClient } from './kms-client.ts'

let world: World
let other: World

beforeAll(async () => {
  world = await World.start()
  other = await World.start()
})

afterAll(async () => {
  await world.stop()
  await other.stop()
})

/** Whoever sits between instance and key service and holds answers that were true elsewhere. */
class BetweenClient extends KmsClient {
  answer: ((real: string) => string) | undefined
  token: string | undefined

  override async release(jws: string): Promise<string> {
    const real = await super.release(jws)
    return this.answer === undefined ? real : this.answer(real)
  }

  override async commitHeads(jws: string): Promise<string> {
    const real = await super.commitHeads(jws)
    return this.answer === undefined ? real : this.answer(real)
  }

  override async attest(request: Parameters<KmsClient['attest']>[0]) {
    const real = await super.attest(request)
    return { ...real, token: this.token ?? real.token }
  }
}

async function attestedBetween(scene: Scene, token?: string) {
  const client = new BetweenClient(world.kms.pin)
  client.token = token
  const quoteFor = world.quoting(scene.measurement)
  const session = await AttestedSession.attest({ client, tee: 'sim', job: scene.job, quoteFor })
  return { client, session }
}

const STATEMENT = { name: 'KmsConnectionError', code: 'STATEMENT' }

describe('statements', () => {
  it('are refused when they were true of another request', async () => {
    const scene = await Scene.make(world)
    const { client, session } = await attestedBetween(scene)
    const earlier = await session.release(scene.parts())
    client.answer = () => earlier.statement
    await expect(session.release(scene.parts())).rejects.toMatchObject(STATEMENT)
  })

  it('are refused when they are another key service’s', async () => {
    const foreign = await Scene.make(other)
    const { statement } = await (await foreign.attest()).release(foreign.parts())
    const scene = await Scene.make(world)
    const { client, session } = await attestedBetween(scene)
    client.answer = () => statement
    await expect(session.release(scene.parts())).rejects.toMatchObject(STATEMENT)
  })

  it('are refused with any part changed', async () => {
    const scene = await Scene.make(world)
    const { client, session } = await attestedBetween(scene)
    for (const part of [0, 1, 2]) {
      client.answer = real => {
        const parts = real.split('.')
        const bytes = Buffer.from(parts[part] ?? '', 'base64url')
        const at = Math.floor(bytes.length / 2)
        bytes[at] = (bytes[at] ?? 0) ^ 1
        parts[part] = bytes.toString('base64url')
        return parts.join('.')
      }
      await expect(session.release(scene.parts())).rejects.toMatchObject(STATEMENT)
    }
  })

  it('of a release do not pass for one of moved heads', async () => {
    const scene = await Scene.make(world)
    const { client, session } = await attestedBetween(scene)
    const { statement } = await session.release(scene.parts())
    client.answer = () => statement
    const [output] = scene.job.outputs
    const next = { version: 1, manifestDigest: randomBytes(32).toString('hex') }
    const move = { datasetId: output?.datasetId ?? '', expected: null, next }
    await expect(session.commitHeads([move])).rejects.toMatchObject(STATEMENT)
  })

  it('and tokens given to another instance are refused', async () => {
    const scene = await Scene.make(world)
    const { token } = (await scene.attest()).evidence
    await expect(attestedBetween(scene, token)).rejects.toMatchObject(STATEMENT)
    const foreign = (await (await Scene.make(other)).attest()).evidence.token
    await expect(attestedBetween(scene, foreign)).rejects.toMatchObject(STATEMENT)
    await expect(attestedBetween(scene, 'a.b.c')).rejects.toMatchObject(STATEMENT)
  })
})
