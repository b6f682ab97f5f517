import { cp, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { KmsClient } from '../client/kms-client.ts'
import { APPRAISAL, refused, World } from './flow.test.support.ts'
import { startKms } from './start-kms.ts'
import { onPostgresToo } from './store/backends.test.fixture.ts'

const DAY_MS = 24 * 60 * 60 * 1000
const KEYS = 12
const upkeep = { keyUpkeepSeconds: 0.05 }

/** A key service of two replicas, with an account's client of each. */
async function twoReplicas() {
  const world = await World.start(upkeep)
  const { client: one, credential } = await world.account()
  const dataDir = join(world.folder, 'other')
  await mkdir(dataDir, { mode: 0o700 })
  await cp(join(world.folder, 'kms', 'root.key'), join(dataDir, 'root.key'))
  const kms = await startKms({
    dataDir,
    port: 0,
    rootKey: { kind: 'file' },
    roots: [world.platform.trustRoot],
    collateralDir: world.folder,
    appraisal: APPRAISAL,
    now: () => new Date(Date.now() + world.clock.skewMs),
    ...('postgres' in world.database.options ? world.database.options : {}),
    ...upkeep,
  })
  const two = new KmsClient(kms.pin, { credential })
  const stop = async () => {
    two.close()
    await kms.close()
    await world.stop()
  }
  return { world, one, two, stop }
}

const rounds = () => new Promise(resolve => setTimeout(resolve, 1000))

onPostgresToo(
  backend => {
    World.backend = backend
  },
  async () => {
    describe('what is planned for keys', () => {
      it('is done by one of two replicas, and the other sees it', { timeout: 60_000 }, async () => {
        const { one, stop, two, world } = await twoReplicas()
        try {
          const keyIds: string[] = []
          for (let n = 0; n < KEYS; n++) {
            const { keyId } = await one.createKey({ mode: 'open', alias: `key ${n}` })
            await two.enableKeyRotation(keyId, 90)
            keyIds.push(keyId)
          }
          const [first = ''] = keyIds
          const before = await two.encrypt(first, Uint8Array.of(1))
          const acts = async (action: string) => {
            const rows = (await two.audit()).filter(({ entry }) => entry['action'] === action)
            return rows.map(({ entry }) => String(entry['keyId'])).sort()
          }
          world.clock.skewMs = 90 * DAY_MS + 60_000
          for (const client of [one, two]) {
            for (const keyId of keyIds) {
              await expect
                .poll(() => client.describeKey(keyId), { timeout: 10_000 })
                .toMatchObject({ currentVersion: 2 })
            }
          }
          await rounds()
          expect(await acts('rotate-key')).toEqual([...keyIds].sort())
          const after = await one.encrypt(first, Uint8Array.of(2))
          expect([before.keyVersion, after.keyVersion]).toEqual([1, 2])
          expect(await one.decrypt(before.ciphertext)).toEqual(Uint8Array.of(1))
          expect(await two.decrypt(after.ciphertext)).toEqual(Uint8Array.of(2))
          const [kept = '', ...doomed] = keyIds
          for (const keyId of keyIds) await two.scheduleKeyDeletion(keyId, 7)
          // At the other one, and in time.
          await one.cancelKeyDeletion(kept)
          world.clock.skewMs += 7 * DAY_MS + 60_000
          for (const client of [one, two]) {
            for (const keyId of doomed) {
              await expect
                .poll(() => client.describeKey(keyId), { timeout: 10_000 })
                .toMatchObject({ state: 'deleted' })
            }
            expect(await client.describeKey(kept)).toMatchObject({ state: 'disabled' })
          }
          await rounds()
          expect(await acts('delete-key')).toEqual([...doomed].sort())
          const versions = world.database.read('select distinct key_id from key_versions')
          expect(versions).toEqual([{ key_id: kept }])
          const [last = ''] = doomed
          for (const client of [one, two]) {
            await refused(client.encrypt(last, Uint8Array.of(3)), 'KEY_STATE')
          }
        } finally {
          await stop()
        }
      })

      it('is not done where a replica took it back at the last moment', {
        timeout: 60_000,
      }, async () => {
        const { one, stop, two, world } = await twoReplicas()
        try {
          for (let round = 0; round < 5; round++) {
            const { keyId } = await one.createKey({ mode: 'open' })
            await one.scheduleKeyDeletion(keyId, 7)
            world.clock.skewMs += 7 * DAY_MS + 60_000
            // Either it comes in time and is true, or it does not and says so.
            const cancelled = await two.cancelKeyDeletion(keyId).then(
              () => 'disabled',
              () => 'deleted',
            )
            await rounds()
            for (const client of [one, two]) {
              expect(await client.describeKey(keyId)).toMatchObject({ state: cancelled })
            }
          }
        } finally {
          await stop()
        }
      })
    })
  },
)
