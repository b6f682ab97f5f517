import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { AuditLog } from '../audit/index.ts'
import { Keys } from '../keys/index.ts'
import { postgresDatabase } from './backends.test.fixture.ts'
import { consume, getHead, moveHead, openStore, type PostgresOptions, type Store } from './index.ts'
import { POSTGRES_BIN, POSTGRES_MISSING, PostgresServer } from './postgres.test.fixture.ts'
import { PostgresProxy } from './postgres-proxy.test.fixture.ts'
import { testRoot } from './temporary-store.test.fixture.ts'
import { STALENESS_MS } from './transaction.ts'

const at = new Date('2026-01-01T00:00:00Z')
const use = (id: number | string) => ({ kind: 'token', id: String(id), expiresAt: at }) as const
const head = (version: number) => ({ version, manifestDigest: `digest ${version}`, writerKey: 'w' })

let server: PostgresServer

/** Opens a store, which the test's end closes. */
async function replica(postgres: PostgresOptions, feedLength?: number): Promise<Store> {
  const length = feedLength === undefined ? {} : { feedLength }
  const store = await openStore({ postgres, root: testRoot(), ...length })
  onTestFinished(() => store.close())
  return store
}

async function replicas() {
  const postgres = server.createDatabase()
  return { postgres, one: await replica(postgres), two: await replica(postgres) }
}

const taken = (store: Store, id: number | string) => store.write(tx => consume(tx, use(id)))

/** Moves the head of one dataset to a version. */
const moved = (store: Store, version: number) =>
  store.write(tx => {
    const expected = version === 1 ? null : head(version - 1)
    return moveHead(tx, { datasetId: 'd', owner: 'a', expected, next: head(version) })
  })

const pause = (milliseconds: number) => new Promise(resolve => setTimeout(resolve, milliseconds))

describe.skipIf(POSTGRES_BIN === undefined)(`replicas${POSTGRES_MISSING}`, () => {
  beforeAll(async () => {
    server = await PostgresServer.start()
  })

  afterAll(() => server.remove())

  it('see what the others wrote, in whatever they do next', async () => {
    const { one, two } = await replicas()
    for (let version = 1; version <= 6; version += 2) {
      await moved(one, version)
      await moved(two, version + 1)
      expect(await one.read(tx => getHead(tx, 'd'))).toMatchObject({ version: version + 1 })
    }
    expect(await taken(one, 'x')).toBe(true)
    expect(await taken(two, 'x')).toBe(false)
  })

  it('refuse and let pass by the present state, whatever they knew', async () => {
    const postgres = server.createDatabase()
    const one = await replica(postgres)
    const late = await lateReplica(postgres)
    const keys = new Keys(testRoot())
    const { keyId } = await one.write(tx => keys.create(tx, { owner: 'a', mode: 'open', at }))
    await late.store.read(tx => keys.usable(tx, keyId))
    const used = () =>
      late.store.write(async tx => {
        // Nothing of this asks the database.
        await keys.usable(tx, keyId)
        return await consume(tx, use(Math.random()))
      })
    for (const state of ['disabled', 'enabled', 'disabled', 'enabled'] as const) {
      late.shutOut()
      await one.write(tx => keys.setState(tx, keyId, state))
      await late.letIn()
      if (state === 'enabled') expect(await used()).toBe(true)
      else await expect(used()).rejects.toMatchObject({ code: 'KEY_DISABLED' })
    }
  })

  it('start at once on an empty database, and are one', { timeout: 60_000 }, async () => {
    // Also where one finds no tables, and by its turn another has made them and runs.
    for (const apart of [0, 60, 85]) {
      const postgres = server.createDatabase()
      const starts = [0, 1, 2, 3, 4].map(async n => {
        await pause(n * apart)
        return await replica(postgres)
      })
      const uses = (await Promise.all(starts)).map(store => taken(store, 'x'))
      expect((await Promise.all(uses)).filter(isFirst => isFirst)).toHaveLength(1)
    }
  })

  it('go by what they knew of a row for a bounded time', async () => {
    const { one, two } = await replicas()
    const keys = new Keys(testRoot())
    const { keyId } = await one.write(tx => keys.create(tx, { owner: 'a', mode: 'open', at }))
    const found = () => two.read(tx => tx.find('keys', keyId))
    const first = await found()
    expect(first).toMatchObject({ state: 'enabled' })
    // As long as it stands it is the same object.
    expect(await found()).toBe(first)
    await one.write(tx => keys.setState(tx, keyId, 'disabled'))
    // Whatever writes sees it at once.
    expect(await two.write(tx => tx.find('keys', keyId))).toMatchObject({ state: 'disabled' })
    expect(await found()).toMatchObject({ state: 'disabled' })
    await one.write(tx => keys.setState(tx, keyId, 'enabled'))
    await pause(STALENESS_MS)
    expect(await found()).toMatchObject({ state: 'enabled' })
  })

  /** A replica that hears nothing of what is done until it is let in again. */
  async function lateReplica(postgres: PostgresOptions, feedLength?: number) {
    const proxy = await PostgresProxy.start(postgres)
    onTestFinished(() => proxy.close())
    const store = await replica(proxy.options, feedLength)
    return {
      store,
      shutOut: () => {
        proxy.isOpen = false
        proxy.cut()
      },
      letIn: async () => {
        proxy.isOpen = true
        // For as long as a server that could not be reached is left alone.
        await pause(300)
      },
    }
  }

  const log = new AuditLog()
  const logged = (store: Store, action: string) =>
    store.write(tx =>
      log.append(tx, { at: at.toISOString(), actor: 'a', action, outcome: 'done', reasons: [] }),
    )

  it('read all rows anew when they are too far behind to be told of each step', async () => {
    const postgres = server.createDatabase()
    const one = await replica(postgres, 5)
    const late = await lateReplica(postgres, 5)
    late.store.demand((tx, before) => log.requireContinued(tx, before('audit_log', '1')))
    const seen: (readonly string[])[] = []
    late.store.watch('consumed', ids => seen.push(ids))
    await logged(one, 'first')
    expect(await late.store.read(tx => log.root(tx))).toMatchObject({ size: 1 })
    late.shutOut()
    for (let n = 0; n < 40; n++) await taken(one, n)
    await logged(one, 'second')
    await one.prune()
    const { read } = postgresDatabase(server, postgres.database)
    const [row] = read('select count(*) as n from store_changes')
    expect(Number(row?.['n'])).toBeLessThan(15)
    await late.letIn()
    expect(await taken(late.store, 7)).toBe(false)
    expect(seen.flat()).toContain('token:7')
    expect(await late.store.read(tx => log.root(tx))).toMatchObject({ size: 2 })
  })

  describe('of which a host edits what they tell each other', () => {
    const newest = '(select max(epoch) from store_changes)'
    const taking = (which: string) => `set changes = (select changes from store_changes ${which}),
      mac = (select mac from store_changes ${which})`
    const EDITS: Record<string, string> = {
      'an entry edited': `update store_changes set changes = replace(changes, 'token:3', 'token:9')`,
      'an entry taken out': `delete from store_changes where epoch = ${newest} - 1`,
      'the end taken away': `delete from store_changes where epoch = ${newest}`,
      'an entry of before in another’s place': `update store_changes
        ${taking('order by epoch limit 1')} where epoch = ${newest}`,
      'the newest in the place of the one before': `update store_changes
        ${taking('order by epoch desc limit 1')} where epoch = ${newest} - 1`,
      'entries in another order': `update store_changes set epoch = -epoch where epoch >= ${newest} - 1;
        update store_changes set epoch = (select -epoch from store_changes order by epoch limit 1) - 1
        where epoch = (select min(epoch) from store_changes);
        update store_changes set epoch = ${newest} + 1
        where epoch = (select min(epoch) from store_changes)`,
      'the state of another time': 'update store_state set epoch = epoch - 1',
      'a state ahead of all': 'update store_state set epoch = epoch + 1',
      'a state far ahead of all': 'update store_state set epoch = epoch + 100000',
      'the state’s MAC': `update store_state set mac = substr(mac, 2) || 'A'`,
      'the state taken away': 'delete from store_state',
    }

    it.each(Object.entries(EDITS))(
      'one that was not there is not misled: %s',
      async (_what, sql) => {
        const postgres = server.createDatabase()
        const one = await replica(postgres)
        const late = await lateReplica(postgres)
        await taken(one, 1)
        await taken(late.store, 2)
        late.shutOut()
        await taken(one, 3)
        await taken(one, 4)
        expect(postgresDatabase(server, postgres.database).edit(...sql.split(';'))).toBeGreaterThan(
          0,
        )
        await late.letIn()
        const refused = { code: expect.stringMatching(/^(ROW_MAC|ROLLED_BACK)$/) }
        await expect(taken(late.store, 3)).rejects.toMatchObject(refused)
        await expect(late.store.read(tx => getHead(tx, 'd'))).rejects.toMatchObject(refused)
      },
    )
  })

  describe('whose host puts another database in the place of theirs', () => {
    /** Two databases that were one, the second in the state that the first had before. */
    async function forked() {
      const postgres = server.createDatabase()
      const before = await replica(postgres)
      await logged(before, 'both')
      await taken(before, 'both')
      await before.close()
      const copy = `${postgres.database}_copy`
      server.psql('postgres', `create database ${copy} template ${postgres.database}`)
      /** Puts the copy in the place of the database. */
      const swap = () => {
        const ended = `select pg_terminate_backend(pid) from pg_stat_activity
          where datname in ('${postgres.database}', '${copy}')`
        server.psql('postgres', ended)
        server.psql('postgres', `alter database ${postgres.database} rename to ${copy}_before`)
        server.psql('postgres', `alter database ${copy} rename to ${postgres.database}`)
      }
      return { postgres, other: server.database(copy), swap }
    }

    it('a replica that saw the newer one refuses the older', async () => {
      const { postgres, swap } = await forked()
      const store = await replica(postgres)
      await taken(store, 1)
      swap()
      await expect(taken(store, 1)).rejects.toMatchObject({ code: 'ROLLED_BACK' })
      await expect(store.read(tx => log.root(tx))).rejects.toMatchObject({ code: 'ROLLED_BACK' })
      // Whoever starts now takes the older for the present: there is no memory of the other.
      const late = await replica(postgres)
      expect(await taken(late, 'else')).toBe(true)
      // As many transactions, and others: still not the one that it saw, nor is one further on.
      await expect(taken(store, 2)).rejects.toMatchObject({ code: 'ROW_MAC' })
      await taken(late, 2)
      await expect(taken(store, 3)).rejects.toMatchObject({ code: 'ROW_MAC' })
    })

    it('a replica does not go from one to the other, however far that has gone', async () => {
      const { postgres, other, swap } = await forked()
      const store = await replica(postgres, 5)
      store.demand((tx, before) => log.requireContinued(tx, before('audit_log', '1')))
      await logged(store, 'here')
      const elsewhere = await replica(other, 5)
      for (let n = 0; n < 20; n++) await logged(elsewhere, 'there')
      await elsewhere.close()
      swap()
      await expect(taken(store, 1)).rejects.toMatchObject({ code: 'ROLLED_BACK' })
      await expect(store.read(tx => log.root(tx))).rejects.toMatchObject({ code: 'ROLLED_BACK' })
    })

    it('goes on with one that is its own, put somewhere else', async () => {
      const { postgres, other, swap } = await forked()
      const store = await replica(postgres)
      const elsewhere = await replica(other)
      await taken(elsewhere, 1)
      await elsewhere.close()
      swap()
      // It was here last when the two were one: the copy has gone on from there.
      expect(await taken(store, 1)).toBe(false)
      expect(await taken(store, 2)).toBe(true)
    })
  })

  describe('whose connection is cut', () => {
    it('at a commit, find out whether it was one, and do it once', {
      timeout: 120_000,
    }, async () => {
      const postgres = server.createDatabase()
      const proxy = await PostgresProxy.start(postgres)
      onTestFinished(() => proxy.close())
      const [store, other] = [await replica(proxy.options), await replica(postgres)]
      for (let n = 1; n <= 8; n++) {
        proxy.fate = n % 2 === 0 ? 'cut-before' : 'cut-after'
        expect(await moved(store, n)).toMatchObject({ version: n })
        expect(proxy.fate).toBe('pass')
        expect(await other.read(tx => getHead(tx, 'd'))).toMatchObject({ version: n })
      }
      // Of writes that share the commit, too, each is done once.
      proxy.fate = 'cut-after'
      const uses = Array.from({ length: 20 }, (_, n) => taken(store, n))
      expect(await Promise.all(uses)).toEqual(uses.map(() => true))
      proxy.fate = 'cut-before'
      const moves = Array.from({ length: 20 }, (_, n) => moved(store, 9 + n))
      expect((await Promise.all(moves)).map(({ version }) => version)).toEqual(
        moves.map((_, n) => 9 + n),
      )
    })

    it('at a commit that reaches the server late, have it fail then', async () => {
      const postgres = server.createDatabase()
      const proxy = await PostgresProxy.start(postgres)
      onTestFinished(() => proxy.close())
      const store = await replica(proxy.options)
      proxy.fate = 'late'
      let attempts = 0
      const write = store.write(async tx => {
        const isFirst = await consume(tx, use('late'))
        if (++attempts > 1) throw new RangeError('refused now')
        return isFirst
      })
      await expect(write).rejects.toThrow('refused now')
      expect(attempts).toBe(2)
      proxy.deliver()
      await pause(500)
      const { read } = postgresDatabase(server, postgres.database)
      expect(read('select id from consumed')).toEqual([])
      expect(await taken(store, 'late')).toBe(true)
      expect(await taken(store, 'late')).toBe(false)
    })

    it('at a commit, say so when it stays unknown what became of it', {
      timeout: 60_000,
    }, async () => {
      const postgres = server.createDatabase()
      const proxy = await PostgresProxy.start(postgres)
      onTestFinished(() => proxy.close())
      const store = await replica(proxy.options)
      proxy.fate = 'cut-after'
      const write = taken(store, 1)
      proxy.isOpen = false
      await expect(write).rejects.toMatchObject({ code: 'OUTCOME' })
      proxy.isOpen = true
      // Once a server was not reached, it is left alone a moment longer.
      await expect.poll(() => taken(store, 1).catch(({ code }) => code)).toBe(false)
    })

    it('between transactions, take a new one', async () => {
      const { postgres, one } = await replicas()
      for (let n = 0; n < 3; n++) {
        expect(await taken(one, n)).toBe(true)
        const ended = `select pg_terminate_backend(pid) from pg_stat_activity
          where datname = '${postgres.database}'`
        server.psql('postgres', ended)
        expect(await one.read(tx => getHead(tx, 'd'))).toBeUndefined()
        server.psql('postgres', ended)
      }
    })
  })

  it('of which one is silent in the midst of a write: it is fenced off, and the others go on', {
    timeout: 60_000,
  }, async () => {
    const { one, two } = await replicas()
    let wake = (): void => undefined
    const sleep = new Promise<void>(resolve => {
      wake = resolve
    })
    const asleep = one.write(async tx => {
      const isFirst = await consume(tx, use('asleep'))
      // From its first question on it has the state row.
      await getHead(tx, 'd')
      await sleep
      return isFirst
    })
    await pause(100)
    await expect(taken(two, 'impatient')).rejects.toMatchObject({ code: 'BUSY' })
    const begun = performance.now()
    while (!(await taken(two, 'patient').catch(() => false))) {
      expect(performance.now() - begun).toBeLessThan(20_000)
    }
    expect(await taken(two, 'asleep')).toBe(true)
    wake()
    // Its transaction is gone; run again, it sees what the other did.
    expect(await asleep).toBe(false)
    expect(await taken(one, 'patient')).toBe(false)
    expect(await taken(one, 'asleep')).toBe(false)
  })

  it('do not take for done what went on although others had written', async () => {
    const postgres = server.createDatabase()
    const one = await replica(postgres)
    const late = await lateReplica(postgres)
    await taken(late.store, 1)
    late.shutOut()
    await moved(one, 1)
    await late.letIn()
    const seen = await late.store.write(async tx => {
      await consume(tx, use(2))
      const found = await getHead(tx, 'd').catch(() => 'swallowed')
      return found
    })
    expect(seen).toMatchObject({ version: 1 })
  })

  it.runIf(process.env['SLOW'] === '1')(
    'know the time, however much they have to write',
    { timeout: 90_000 },
    async () => {
      const { one } = await replicas()
      const until = performance.now() + 40_000
      for (let n = 0; performance.now() < until; n++) {
        await Promise.all([taken(one, `a ${n}`), taken(one, `b ${n}`)])
        expect(Math.abs(one.now().getTime() - Date.now())).toBeLessThan(1000)
      }
    },
  )

  it('share one clock, however theirs go', async () => {
    const { one, two } = await replicas()
    await Promise.all([pause(400), taken(one, 1), taken(two, 2)])
    const apart = Math.abs(one.now().getTime() - two.now().getTime())
    expect(apart).toBeLessThan(250)
  })

  it('keep out whoever changes the database as a whole, and are kept out by it', {
    timeout: 60_000,
  }, async () => {
    const postgres = server.createDatabase()
    const store = await replica(postgres)
    const alone = { postgres, root: testRoot(), alone: true }
    await expect(openStore(alone)).rejects.toMatchObject({ code: 'LOCKED' })
    await store.close()
    const only = await openStore(alone)
    await expect(replica(postgres)).rejects.toMatchObject({ code: 'LOCKED' })
    await only.close()
    await (await replica(postgres)).close()
  })

  it('need no more of a server than a database of their own', async () => {
    server.psql('postgres', 'create role plain login', 'create database plain owner plain')
    const store = await replica({ ...server.database('plain'), user: 'plain' })
    expect(await taken(store, 1)).toBe(true)
    expect(await taken(store, 1)).toBe(false)
  })

  it('refuse a server that does not keep what it acknowledged', async () => {
    const careless = await PostgresServer.start(['fsync=off'])
    onTestFinished(() => careless.remove())
    const opening = replica(careless.createDatabase())
    await expect(opening).rejects.toMatchObject({
      code: 'OPEN',
      message: expect.stringContaining('fsync off'),
    })
  })

  it('fail at once while the server is down, and go on when it is back', async () => {
    const own = await PostgresServer.start()
    onTestFinished(() => own.remove())
    const store = await replica(own.createDatabase())
    await taken(store, 1)
    await own.stop('SIGKILL')
    // Its children live a moment longer.
    let n = 0
    await expect
      .poll(() => taken(store, `late ${n++}`).then(String, error => error.code))
      .toBe('CONNECTION')
    const begun = performance.now()
    for (let n = 0; n < 20; n++) {
      await expect(taken(store, 2)).rejects.toMatchObject({ code: 'CONNECTION' })
    }
    expect(performance.now() - begun).toBeLessThan(3000)
    await own.start()
    await pause(300)
    expect(await taken(store, 1)).toBe(false)
    expect(await taken(store, 2)).toBe(true)
  })
})
