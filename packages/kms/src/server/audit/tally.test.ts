import { Dek, newDatasetId, newFileId } from '@cloister/sealed'
import { describe, expect, it } from 'vitest'
import { LogFolder } from '../../client/log-folder.ts'
import { followLog } from '../../client/log-history.ts'
import { newKey, refused, Scene, sealPart, World } from '../flow.test.support.ts'
import { openRootKey } from '../root/index.ts'
import { openStore } from '../store/index.ts'
import { editDatabase, temporaryStore } from '../store/temporary-store.test.fixture.ts'
import { AuditLog, Tally } from './index.ts'

async function temporaryTally() {
  const { path, store } = await temporaryStore()
  const audit = new AuditLog()
  const tally = new Tally({ store, audit, witness: undefined, now: () => new Date(0) })
  const rows = async () => {
    const all = await store.read(tx => audit.entries(tx, { after: -1, limit: 1000 }))
    return all.map(({ entry }) => entry)
  }
  return { path, tally, rows }
}

const use = (actor: string, keyId: string) => ({ actor, account: 'a', action: 'wrap', keyId })
const denial = (code: string) => ({
  action: 'GET /v1/keys',
  reasons: [{ code, message: 'no' }] as const,
})

describe('what is counted', () => {
  it('is one row an actor and batch, whatever the number of uses', async () => {
    const { rows, tally } = await temporaryTally()
    for (let n = 0; n < 1000; n++) await tally.used(use(`account:${n % 2}`, `key ${n % 4}`))
    expect(await rows()).toEqual([])
    await tally.flush()
    const uses = (await rows()).map(row => [row['user'], row['uses']])
    expect(uses).toEqual([
      ['account:0', [0, 2].map(n => ({ action: 'wrap', count: 250, keyId: `key ${n}` }))],
      ['account:1', [1, 3].map(n => ({ action: 'wrap', count: 250, keyId: `key ${n}` }))],
    ])
    await tally.flush()
    expect(await rows()).toHaveLength(2)
  })

  it('is five denials of a kind whole, and the number of all', async () => {
    const { rows, tally } = await temporaryTally()
    for (let n = 0; n < 300; n++) tally.denied(denial('UNAUTHENTICATED'))
    for (let n = 0; n < 3; n++) tally.denied(denial('MALFORMED'))
    await tally.flush()
    const all = await rows()
    expect(all.filter(({ outcome }) => outcome === 'denied')).toHaveLength(8)
    expect(all.at(-1)).toMatchObject({
      action: 'denials',
      denials: [
        { action: 'GET /v1/keys', code: 'UNAUTHENTICATED', count: 300 },
        { action: 'GET /v1/keys', code: 'MALFORMED', count: 3 },
      ],
    })
  })

  it('is counted on when the log cannot be written, and is not counted twice', async () => {
    const { path, rows, tally } = await temporaryTally()
    await tally.used(use('account:0', 'key'))
    tally.denied(denial('X'))
    editDatabase(path, 'alter table audit_nodes rename to gone')
    const failing = tally.flush()
    await tally.used(use('account:0', 'key'))
    tally.denied(denial('X'))
    await expect(failing).rejects.toMatchObject({ name: 'StoreError' })
    editDatabase(path, 'alter table gone rename to audit_nodes')
    await tally.used(use('account:0', 'key'))
    await tally.flush()
    await tally.flush()
    const all = await rows()
    expect(all.filter(({ action }) => action === 'usage')).toMatchObject([
      { uses: [{ action: 'wrap', count: 3, keyId: 'key' }] },
    ])
    expect(all.at(-1)).toMatchObject({ denials: [{ code: 'X', count: 2 }] })
  })

  it('takes no more memory for more kinds: the log is written in between', async () => {
    const { rows, tally } = await temporaryTally()
    for (let n = 0; n < 10_001; n++) await tally.used(use('account:0', `key ${n}`))
    const uses = (await rows()).flatMap(row => row['uses'])
    expect(uses).toHaveLength(10_000)
  })
})

describe('a key service', () => {
  it('counts wraps and unwraps, which the owner sees, and a denial has a row at once', async () => {
    const world = await World.start({ auditBatchSeconds: 3600 })
    const owner = await world.enrol()
    const { keyId } = await owner.createKey({ mode: 'open' })
    const datasetId = newDatasetId()
    for (let n = 0; n < 20; n++) {
      const { fileId, fixedDigestHex, slot } = await sealPart(owner, keyId, datasetId)
      await owner.unwrapDek(keyId, slot, { datasetId, fileId, fixedDigestHex })
    }
    expect(await owner.audit()).toHaveLength(2)
    const context = { datasetId, fileId: newFileId(), fixedDigestHex: '0'.repeat(64) }
    const stranger = await world.enrol()
    await refused(stranger.wrapDek(keyId, Dek.generate(), context), 'NOT_OWNER')
    expect((await owner.audit()).at(-1)?.entry).toMatchObject({ outcome: 'denied', action: 'wrap' })
    await world.kms.close()
    const [usage] = (await rowsIn(world)).filter(({ action }) => action === 'usage')
    const owners = (await rowsIn(world)).find(({ action }) => action === 'create-key')
    expect(usage).toMatchObject({
      user: owners?.actor,
      accounts: [owners?.actor.replace('account:', '')],
      uses: [
        { action: 'wrap', count: 20, keyId },
        { action: 'unwrap', count: 20, keyId },
      ],
    })
    await world.stop()
  })

  it('does not let its log grow by calls of whoever proves nothing', async () => {
    const world = await World.start({ auditBatchSeconds: 3600 })
    const scene = await Scene.make(world)
    const session = await scene.attest()
    const before = (await followed(world)).size
    const anybody = world.client(`${'0'.repeat(32)}.${'A'.repeat(43)}`)
    for (let n = 0; n < 40; n++) {
      await refused(anybody.listKeys(), 'UNAUTHENTICATED')
      await refused(anybody.enrol('A'.repeat(43)), 'ENROLMENT_REFUSED')
      // Anybody can sign a request; this one bears a token that was given to another key.
      const jws = await scene.releaseJws(session, {}, newKey())
      await refused(anybody.release(jws), 'TOKEN_KEY')
    }
    expect((await followed(world)).size).toBe(before)
    // Evidence that verified proves something: this has a row at once.
    const { body } = await scene.attestRaw({ enclave: { debug: true } })
    await refused(anybody.attest(body), 'APPRAISAL_REJECTED')
    expect((await followed(world)).size).toBe(before + 1)
    await world.kms.close()
    const rows = await rowsIn(world)
    const [batch] = rows.filter(({ action }) => action === 'denials')
    expect(batch?.['denials']).toEqual([
      { action: 'GET /v1/keys', code: 'UNAUTHENTICATED', count: 40 },
      { action: 'POST /v1/enrol', code: 'ENROLMENT_REFUSED', count: 40 },
      { action: 'release', code: 'TOKEN_KEY', count: 40 },
    ])
    expect(rows.filter(({ actor }) => actor === 'unproven')).toHaveLength(15)
    await world.stop()
  })
})

const followed = (world: World) => followLog(world.client(), new LogFolder(`${world.folder}/home`))

/** All rows of a key service that was closed. */
async function rowsIn({ folder }: World) {
  const root = await openRootKey({ kind: 'file', folder: `${folder}/kms`, mayCreate: false })
  const store = await openStore({ path: `${folder}/kms/kms.db`, root })
  const all = await store.read(tx => new AuditLog().entries(tx, { after: -1, limit: 1000 }))
  await store.close()
  return all.map(({ entry }) => entry)
}
