import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { World } from '../flow.test.support.ts'

const DAY_MS = 24 * 60 * 60 * 1000

it('material of a key that was deleted is not in the database’s file either', async () => {
  const world = await World.start({ keyUpkeepSeconds: 0.1 })
  try {
    const owner = await world.enrol()
    const { keyId } = await owner.createKey({ mode: 'open' })
    const [material] = world.database.read('select wrapped from key_versions')
    await owner.scheduleKeyDeletion(keyId, 7)
    world.clock.skewMs = 8 * DAY_MS
    await expect.poll(() => owner.describeKey(keyId)).toMatchObject({ state: 'deleted' })
    await world.kms.close()
    const file = await readFile(join(world.folder, 'kms', 'kms.db'))
    expect(file.includes(String(material?.['wrapped']))).toBe(false)
  } finally {
    await world.stop().catch(() => undefined)
  }
})
