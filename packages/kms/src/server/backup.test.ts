import { randomBytes } from 'node:crypto'
import { cp, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { newDatasetId } from '@cloister/sealed'
import { expect, it, onTestFinished } from 'vitest'
import { acceptRestored } from '../client/accept-restored.ts'
import { AttestedSession } from '../client/attested-session.ts'
import { KmsClient } from '../client/kms-client.ts'
import { LogFolder } from '../client/log-folder.ts'
import { followLog } from '../client/log-history.ts'
import type { JobStatement } from '../protocol/job-statement.ts'
import { encodePublicKey } from '../protocol/public-key.ts'
import { EhsmTestClient, exchange } from './ehsm/client.test.support.ts'
import {
  APPRAISAL,
  allow,
  enclaveOf,
  newKey,
  refused,
  sealPart,
  World,
} from './flow.test.support.ts'
import { AUDIT_TOKEN_FILE } from './identity/stored-token.ts'
import { backUp, ENROLMENT_FILE, type RunningKms, restore, startKms } from './index.ts'
import { type Backend, onEveryDatabase } from './store/backends.test.fixture.ts'
import { editDatabase, temporaryFolder } from './store/temporary-store.test.fixture.ts'

const FILE = { kind: 'file' } as const
const EHSM = { openEnrolment: true, openKeys: true }

/** The credential of a new account. */
async function newCredential(world: World): Promise<string> {
  const token = await readFile(join(world.folder, 'kms', ENROLMENT_FILE), 'utf8')
  return (await world.client().enrol(token)).credential
}

/** A key service with a witness, whose database is backed up and put back. */
async function scene(backend: Backend) {
  World.backend = backend.name === 'PostgreSQL' ? backend : undefined
  const elsewhere = await temporaryFolder()
  const witness = join(elsewhere, 'witness')
  const world = await World.start({ witnessFile: witness, ehsm: EHSM })
  const dataDir = join(world.folder, 'kms')
  const { options } = world.database
  let kms: RunningKms = world.kms
  onTestFinished(async () => {
    await kms.close()
    await world.stop()
  })
  const out = join(elsewhere, 'backup')
  const port = Number(new URL(world.kms.pin.url).port)
  const place = { dataDir, ...('postgres' in options ? options : {}) }
  return {
    world,
    dataDir,
    witness,
    out,
    place,
    backUp: async () => {
      if ('path' in options) await backUp({ dataDir, out })
      else backend.dump?.(options.postgres.database, out)
    },
    /** Puts the backup in the database's place, as whoever runs it would by hand. */
    putBack: async () => {
      await kms.close()
      if ('path' in options) {
        for (const suffix of ['', '-wal', '-shm']) {
          await rm(`${options.path}${suffix}`, { force: true })
        }
        await cp(out, options.path)
      } else backend.undump?.(options.postgres.database, out)
    },
    restore: () => restore({ ...place, rootKey: FILE, witness }),
    start: async () => {
      kms = await startKms({
        ...place,
        port,
        rootKey: FILE,
        roots: [world.platform.trustRoot],
        collateralDir: world.folder,
        appraisal: APPRAISAL,
        ehsm: EHSM,
        witnessFile: witness,
      })
    },
  }
}

onEveryDatabase('a backup', backend => {
  it('made under load has all that was acknowledged before, and is gone on with loudly', {
    timeout: 120_000,
  }, async () => {
    const { backUp, putBack, restore, start, world } = await scene(backend)
    const credential = await newCredential(world)
    const owner = world.client(credential)
    const before: string[] = []
    let isOver = false
    const create = async () => {
      while (!isOver) before.push((await owner.createKey({ mode: 'open' })).keyId)
    }
    const load = [create(), create(), create(), create()]
    await expect.poll(() => before.length).toBeGreaterThan(10)
    const acknowledged = [...before]
    await backUp()
    isOver = true
    await Promise.all(load)
    for (let n = 0; n < 3; n++) await owner.createKey({ mode: 'open' })
    const memory = new LogFolder(await temporaryFolder())
    const { size: seen } = await followLog(owner, memory)
    owner.close()
    await putBack()
    // The witness has seen more.
    await expect(start()).rejects.toMatchObject({ code: 'ROLLED_BACK' })
    const { logSize, witnessed } = await restore()
    expect(witnessed).toBe(seen)
    expect(logSize).toBeLessThan(seen)
    await start()
    const again = new KmsClient(world.kms.pin, { credential })
    const listed = new Set((await again.listKeys()).map(({ keyId }) => keyId))
    expect(acknowledged.filter(keyId => !listed.has(keyId))).toEqual([])
    // Who saw the newer log refuses, until told by whoever runs the service.
    const history = { code: 'LOG_HISTORY' }
    await expect(followLog(again, memory)).rejects.toMatchObject(history)
    await expect(acceptRestored(again, memory, logSize + 1)).rejects.toMatchObject(history)
    await expect(acceptRestored(again, memory, seen + 5)).rejects.toMatchObject(history)
    const accepted = await acceptRestored(again, memory, logSize)
    expect(accepted).toMatchObject({ rows: logSize, seen })
    await again.createKey({ mode: 'open' })
    expect((await followLog(again, memory)).size).toBeGreaterThan(logSize)
    // Once: the same words do not cover another time.
    await expect(acceptRestored(again, memory, logSize)).rejects.toMatchObject(history)
    again.close()
  })

  it('brings nothing back that was good for minutes, nor a token of the data folder', async () => {
    const { backUp, dataDir, putBack, restore, start, world } = await scene(backend)
    const owner = await world.enrol()
    const { keyId } = await owner.createKey({ mode: 'attested-only' })
    const datasetId = newDatasetId()
    const part = await sealPart(owner, keyId, datasetId)
    const head = { version: 1, manifestDigest: randomBytes(32).toString('hex') }
    await owner.moveHead(datasetId, null, { ...head, writerKey: encodePublicKey(newKey()) })
    const job: JobStatement = {
      version: 1,
      measurement: randomBytes(32).toString('hex'),
      command: { kind: 'exec', argv: ['/bin/true'] },
      environment: {},
      inputs: [{ name: 'people', datasetId, version: 1, format: 'csv' }],
      outputs: [],
      resources: { memoryMiB: 64 },
      kms: [world.kms.pin.identityKey],
    }
    await allow(owner, keyId, job)
    const ehsm = await EhsmTestClient.enroll(world.kms.pin)
    const token = await readFile(join(dataDir, ENROLMENT_FILE), 'utf8')
    const operatorToken = await world.operatorToken()
    const auditToken = await readFile(join(dataDir, AUDIT_TOKEN_FILE), 'utf8')
    await backUp()
    // They got into other hands, say.
    await world.client(operatorToken).operator.rotateToken('audit')
    await world.client(operatorToken).operator.rotateToken('operator')
    const client = world.client()
    const challenge = await client.challenge()
    const quoteFor = async (reportData: Uint8Array) =>
      world.platform.quote({ ...enclaveOf(job.measurement), reportData })
    const session = await AttestedSession.attest({ client, tee: 'sim', job, quoteFor })
    const parts = { inputs: new Map([[datasetId, [part]]]), outputs: new Map() }
    await session.release(parts)
    const body = ehsm.signed()
    expect((await exchange(world.kms.pin, 'POST', 'ListKey', body)).envelope.code).toBe(200)
    await world.client().enrol(token)
    await putBack()
    await restore()
    await start()
    await refused(session.release(parts), 'TOKEN_EXPIRED')
    const late = world.client()
    late.challenge = async () => challenge
    const attesting = AttestedSession.attest({ client: late, tee: 'sim', job, quoteFor })
    await refused(attesting, 'CHALLENGE_EXPIRED')
    const replayed = await exchange(world.kms.pin, 'POST', 'ListKey', body)
    expect(replayed.envelope.message).toBe('Timestamp error')
    await refused(world.client().enrol(token), 'ENROLMENT_REFUSED')
    await refused(world.client(operatorToken).operator.tenants(), 'UNAUTHENTICATED')
    await refused(world.client(auditToken).logRows(0, 1), 'UNAUTHENTICATED')
    expect(await world.client(await world.operatorToken()).operator.tenants()).not.toEqual([])
    // What comes now is taken; tokens tell their time in whole seconds.
    await new Promise(resolve => setTimeout(resolve, 1000))
    expect((await ehsm.call('ListKey')).envelope.code).toBe(200)
    const fresh = await AttestedSession.attest({ client, tee: 'sim', job, quoteFor })
    await fresh.release(parts)
  })
})

it('a backup of a file is private, proven, and written over nothing', async () => {
  World.backend = undefined
  const world = await World.start()
  const dataDir = join(world.folder, 'kms')
  const credential = await newCredential(world)
  const { keyId } = await world.client(credential).createKey({ mode: 'open' })
  const folder = await temporaryFolder()
  const out = join(folder, 'backup')
  expect(await backUp({ dataDir, out })).toMatchObject({ logSize: 2 })
  expect((await stat(out)).mode & 0o777).toBe(0o600)
  const first = await readFile(out)
  await expect(backUp({ dataDir, out })).rejects.toMatchObject({ code: 'OPEN' })
  expect(await readFile(out)).toEqual(first)
  expect(await readdir(folder)).toEqual(['backup'])
  await expect(backUp({ dataDir: folder, out: join(folder, 'b') })).rejects.toMatchObject({
    code: 'OPEN',
  })
  const other = join(folder, 'kms')
  await mkdir(other)
  const options = { dataDir: other, rootKey: FILE, from: out }
  await expect(restore(options)).rejects.toMatchObject({ code: 'MISSING' })
  await cp(join(dataDir, 'root.key'), join(other, 'root.key'))
  const edited = join(folder, 'edited')
  await cp(out, edited)
  editDatabase(edited, `update keys set owner = 'thief'`)
  await expect(restore({ ...options, from: edited })).rejects.toMatchObject({ code: 'ROW_MAC' })
  await writeFile(join(folder, 'garbage'), randomBytes(5000))
  const garbage = restore({ ...options, from: join(folder, 'garbage') })
  await expect(garbage).rejects.toMatchObject({ name: 'StoreError' })
  expect(await readdir(other)).toEqual(['root.key'])
  await expect(restore({ ...options, dataDir })).rejects.toMatchObject({ code: 'OPEN' })
  expect(await restore(options)).toEqual({ logSize: 2 })
  const restored = await World.start({ dataDir: other })
  const again = new KmsClient(restored.kms.pin, { credential })
  expect((await again.listKeys()).map(key => key.keyId)).toEqual([keyId])
  again.close()
  await restored.stop()
  await world.stop()
})
