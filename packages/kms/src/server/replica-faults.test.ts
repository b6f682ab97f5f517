import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { KmsClient } from '../client/kms-client.ts'
import { EhsmTestClient } from './ehsm/client.test.support.ts'
import { refused } from './flow.test.support.ts'
import { killed } from './kms-process.test.fixture.ts'
import { startReplicas } from './replicas.test.fixture.ts'
import { POSTGRES_BIN, POSTGRES_MISSING, PostgresServer } from './store/postgres.test.fixture.ts'

const KILLS = process.env['SLOW'] === '1' ? 20 : 4

const pause = (milliseconds: number) => new Promise(resolve => setTimeout(resolve, milliseconds))

describe.skipIf(POSTGRES_BIN === undefined)(
  `key services over one database${POSTGRES_MISSING}`,
  () => {
    let server: PostgresServer

    beforeAll(async () => {
      server = await PostgresServer.start()
    })

    afterAll(() => server.remove())

    async function setUp(count: number) {
      const ehsm = { openEnrolment: true, openKeys: true }
      const replicas = await startReplicas(server.createDatabase(), count, { ehsm })
      const [pin] = replicas.pins
      if (pin === undefined) throw new Error('a replica was started')
      const anyone = new KmsClient(pin)
      const token = await readFile(join(replicas.dataDirs[0] ?? '', 'enrolment-token'), 'utf8')
      const { credential } = await anyone.enrol(token)
      anyone.close()
      const owners = replicas.pins.map(each => new KmsClient(each, { credential }))
      onTestFinished(() => {
        for (const owner of owners) owner.close()
      })
      return { replicas, pin, owners }
    }

    it('lose nothing when one of them is killed under load, and clients go on with the other', {
      timeout: 300_000,
    }, async () => {
      const { replicas, owners } = await setUp(2)
      const acknowledged: string[] = []
      let isOver = false
      let turns = 0
      /** What a client does: the next replica when one does not answer. */
      const client = async () => {
        for (let at = turns++; !isOver; ) {
          try {
            const key = await owners[at % owners.length]?.createKey({ mode: 'open' })
            if (key !== undefined) acknowledged.push(key.keyId)
          } catch {
            at++
            await pause(20)
          }
        }
      }
      const clients = Array.from({ length: 8 }, client)
      for (let kill = 0; kill < KILLS; kill++) {
        const before = acknowledged.length
        await pause(100 + Math.random() * 300)
        const [child] = replicas.children.slice(kill % 2)
        if (child !== undefined) await killed(child)
        const alone = acknowledged.length
        await expect.poll(() => acknowledged.length, { timeout: 20_000 }).toBeGreaterThan(alone + 5)
        expect(acknowledged.length).toBeGreaterThan(before)
        await replicas.restart(kill % 2)
      }
      isOver = true
      await Promise.all(clients)
      for (const owner of owners) {
        const listed = new Set((await owner.listKeys()).map(({ keyId }) => keyId))
        expect(acknowledged.filter(keyId => !listed.has(keyId))).toEqual([])
      }
    })

    it('answer 503 while their database is away, and go on by themselves when it is back', {
      timeout: 120_000,
    }, async () => {
      const { owners, pin } = await setUp(1)
      const [owner] = owners
      if (owner === undefined) throw new Error('there is an owner')
      const ehsm = await EhsmTestClient.enroll(pin)
      const keyid = await ehsm.createKey('EH_AES_GCM_128')
      const payload = { keyid, plaintext: Buffer.from('plain').toString('base64') }
      const { keyId } = await owner.createKey({ mode: 'open' })
      for (const signal of ['SIGINT', 'SIGKILL'] as const) {
        await server.stop(signal)
        const refusal = await refused(owner.createKey({ mode: 'open' }), 'UNAVAILABLE')
        expect(refusal.status).toBe(503)
        const { envelope } = await ehsm.call('Encrypt', payload)
        expect(envelope).toEqual({ code: 400, message: 'database error', result: {} })
        // What was known is used for no longer than it may.
        await pause(1200)
        await refused(owner.listKeys(), 'UNAVAILABLE')
        await server.start()
        await expect
          .poll(() => owner.listKeys().then(keys => keys.length, String), { timeout: 10_000 })
          .toBe(1)
        expect((await ehsm.call('Encrypt', payload)).envelope.code).toBe(200)
        expect((await owner.listKeys())[0]?.keyId).toBe(keyId)
      }
    })
  },
)
