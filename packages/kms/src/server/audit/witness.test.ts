import { randomBytes } from 'node:crypto'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { openIdentity } from '../identity/stored-identity.ts'
import { openStore, type PostgresOptions, SealedSecrets } from '../store/index.ts'
import { POSTGRES_BIN, POSTGRES_MISSING, PostgresServer } from '../store/postgres.test.fixture.ts'
import { temporaryFolder, testRoot } from '../store/temporary-store.test.fixture.ts'
import { AuditLog, openLogKey, Witness } from './index.ts'

const at = new Date('2026-01-01T00:00:00Z')

let server: PostgresServer

async function replica(postgres: PostgresOptions) {
  const root = testRoot()
  const store = await openStore({ postgres, root })
  onTestFinished(() => store.close())
  const secrets = new SealedSecrets(root)
  const { kmsId } = await openIdentity(store, secrets, at)
  const audit = new AuditLog()
  const watched = { store, audit, logKey: await openLogKey(store, secrets, kmsId), isShared: true }
  const append = (action: string) =>
    store.write(tx =>
      audit.append(tx, { at: at.toISOString(), actor: 'a', action, outcome: 'done', reasons: [] }),
    )
  return { append, watched }
}

describe.skipIf(POSTGRES_BIN === undefined)(`the witness of replicas${POSTGRES_MISSING}`, () => {
  beforeAll(async () => {
    server = await PostgresServer.start()
  })

  afterAll(() => server.remove())

  it('has the newest checkpoint of all, whoever writes last', async () => {
    const postgres = server.createDatabase()
    const folder = join(await temporaryFolder(), 'witness')
    const [one, two] = [await replica(postgres), await replica(postgres)]
    const witnesses = [
      await Witness.open(folder, one.watched),
      await Witness.open(folder, two.watched),
    ]
    for (let n = 1; n <= 10; n++) {
      await (n % 2 === 0 ? one : two).append(`act ${n}`)
      await Promise.all(witnesses.map(witness => witness.note()))
      expect(await readdir(folder)).toEqual([String(n).padStart(16, '0')])
    }
    await Witness.open(folder, (await replica(postgres)).watched)
  })

  it('tells two replicas that they are shown different databases', async () => {
    const postgres = server.createDatabase()
    const folder = join(await temporaryFolder(), 'witness')
    const before = await replica(postgres)
    await before.append('both')
    await Witness.startAnew(folder, before.watched)
    await before.watched.store.close()
    const copy = `${postgres.database}_copy`
    server.psql('postgres', `create database ${copy} template ${postgres.database}`)
    const [here, there] = [await replica(postgres), await replica(server.database(copy))]
    const mine = await Witness.open(folder, here.watched)
    const theirs = await Witness.open(folder, there.watched)
    await here.append('here')
    await mine.note()
    // Of as many rows, and of more: those that the other was shown are not among them.
    for (let n = 0; n < 2; n++) {
      await there.append('there')
      await expect(theirs.note()).rejects.toMatchObject({ code: 'INTEGRITY' })
    }
    await here.append('here')
    await mine.note()
    await expect(Witness.open(folder, there.watched)).rejects.toMatchObject({ code: 'ROLLED_BACK' })
  })

  it('is a folder, and none is made anew beside a log that has rows', async () => {
    const postgres = server.createDatabase()
    const { append, watched } = await replica(postgres)
    const parent = await temporaryFolder()
    const file = join(parent, 'file')
    await writeFile(file, '')
    await expect(Witness.open(file, watched)).rejects.toMatchObject({ code: 'WITNESS' })
    await append('first')
    const folder = join(parent, 'folder')
    await expect(Witness.open(folder, watched)).rejects.toMatchObject({ code: 'WITNESS' })
    await expect(Witness.open(folder, { ...watched, isShared: false })).rejects.toMatchObject({
      code: 'WITNESS',
    })
    expect(await Witness.startAnew(folder, watched)).toBeUndefined()
    await append('second')
    const witness = await Witness.open(folder, watched)
    await witness.note()
    const [name = ''] = await readdir(folder)
    await writeFile(join(folder, name), randomBytes(100))
    await expect(Witness.open(folder, watched)).rejects.toMatchObject({ code: 'CHECKPOINT' })
    await mkdir(join(folder, 'else'))
    expect(await readFile(file, 'utf8')).toBe('')
  })
})
