import { spawnSync } from 'node:child_process'
import { chmod, mkdir, open, rm, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { type Act, type Acting, expectThere, startActing } from './acts.test.fixture.ts'
import { consume, openStore, StoreError } from './index.ts'
import { POSTGRES_BIN, POSTGRES_MISSING, PostgresServer } from './postgres.test.fixture.ts'
import { temporaryFolder, testRoot } from './temporary-store.test.fixture.ts'

const SLOW = process.env['SLOW'] === '1'

const pause = (milliseconds: number) => new Promise(resolve => setTimeout(resolve, milliseconds))

/** Refusals that tell a client to ask again. */
const PASSING = /^(CONNECTION|OUTCOME|BUSY|CONFLICT)$/

describe.skipIf(POSTGRES_BIN === undefined)(`under load${POSTGRES_MISSING}`, () => {
  let server: PostgresServer

  beforeAll(async () => {
    server = await PostgresServer.start()
  })

  afterAll(() => server.remove())

  const acknowledged = (all: readonly Acting[]): readonly Act[] => all.flatMap(({ acts }) => acts)

  it('a PostgreSQL that is restarted, or crashes, loses nothing, and its replicas go on', {
    timeout: 600_000,
  }, async () => {
    const database = { postgres: server.createDatabase() }
    const load = { together: 8, retry: true }
    const all = [startActing(database, load), startActing(database, load)]
    await Promise.all(all.map(acting => acting.more(5)))
    for (let round = 0; round < (SLOW ? 20 : 4); round++) {
      await pause(Math.random() * 300)
      await server.stop((['SIGKILL', 'SIGINT', 'SIGQUIT'] as const)[round % 3])
      await pause(round % 2 === 0 ? 0 : 500)
      await server.start()
      await Promise.all(all.map(acting => acting.more(5)))
    }
    for (const acting of all) {
      await acting.kill()
      for (const code of acting.refusals) expect(code).toMatch(PASSING)
    }
    await expectThere(database, acknowledged(all))
  })

  it('a replica that is killed takes nothing with it, and the other goes on', {
    timeout: 600_000,
  }, async () => {
    const database = { postgres: server.createDatabase() }
    const load = { together: 8, retry: true }
    const survivor = startActing(database, load)
    const killed: Acting[] = []
    for (let round = 0; round < (SLOW ? 50 : 5); round++) {
      const doomed = startActing(database, load)
      await doomed.more(1)
      await pause(Math.random() * 200)
      await doomed.kill()
      killed.push(doomed)
      await survivor.more(5)
    }
    await survivor.kill()
    expect(survivor.refusals).toEqual([])
    await expectThere(database, acknowledged([survivor, ...killed]))
  })
})

/** Fills a file system but for a little. */
async function fill(folder: string, leave: number): Promise<string> {
  const path = join(folder, 'filler')
  const file = await open(path, 'w')
  try {
    for (;;) {
      const { bavail, bsize } = await statfs(folder)
      const free = bavail * bsize - leave
      if (free <= 0) return path
      await file.write(Buffer.alloc(Math.min(free, 1 << 20)))
    }
  } finally {
    await file.close()
  }
}

/** Mounts a file system of its own in memory; undefined where this process may not. */
async function smallDisk(mebibytes: number): Promise<string | undefined> {
  const parent = await temporaryFolder()
  await chmod(parent, 0o711)
  const folder = join(parent, 'disk')
  await mkdir(folder)
  const mount = ['-t', 'tmpfs', '-o', `size=${mebibytes}m,mode=755`, 'tmpfs', folder]
  if (spawnSync('mount', mount).status !== 0) return undefined
  onTestFinished(() => void spawnSync('umount', ['-l', folder]))
  return folder
}

const canMount =
  process.getuid?.() === 0 &&
  spawnSync('unshare', ['--mount', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt']).status === 0
const unmounted = canMount ? '' : ' (skipped: no file system can be mounted here)'

describe.skipIf(!canMount)(`on a disk that is full${unmounted}`, () => {
  const at = new Date('2026-01-01T00:00:00Z')

  it('SQLite refuses what does not fit, keeps what it acknowledged, and goes on with room', async () => {
    const disk = await smallDisk(16)
    if (disk === undefined) throw new Error('a file system could be mounted before')
    const database = { path: join(disk, 'kms.db') }
    const store = await openStore({ ...database, root: testRoot() })
    onTestFinished(() => store.close())
    const taken = (id: string) =>
      store.write(tx =>
        consume(tx, { kind: 'token', id: `${id}${'x'.repeat(1000)}`, expiresAt: at }),
      )
    for (let n = 0; n < 20; n++) await taken(`before ${n} `)
    const filler = await fill(disk, 256 * 1024)
    let kept = 0
    const refusal: unknown = await (async () => {
      for (; kept < 10_000; kept++) await taken(`${kept} `)
    })().catch((error: unknown) => error)
    expect(refusal).toMatchObject({ name: 'StoreError', code: 'SQL' })
    // Also many at once.
    const many = await Promise.allSettled(Array.from({ length: 50 }, (_, n) => taken(`many ${n} `)))
    for (const end of many) {
      if (end.status === 'rejected') expect(end.reason).toBeInstanceOf(StoreError)
    }
    await rm(filler)
    for (let n = 0; n < 20; n++) expect(await taken(`before ${n} `)).toBe(false)
    for (let n = 0; n < kept; n++) expect(await taken(`${n} `)).toBe(false)
    for (const [n, end] of many.entries()) {
      expect(await taken(`many ${n} `)).toBe(end.status === 'rejected')
    }
    expect(await taken('after ')).toBe(true)
    await store.close()
    const again = await openStore({ ...database, root: testRoot() })
    await again.close()
  })

  it.skipIf(POSTGRES_BIN === undefined)(
    `PostgreSQL loses nothing that was acknowledged, and its replica goes on with room${POSTGRES_MISSING}`,
    { timeout: 240_000 },
    async () => {
      const disk = await smallDisk(160)
      if (disk === undefined) throw new Error('a file system could be mounted before')
      const server = await PostgresServer.start(['max_wal_size=32MB', 'wal_recycle=off'], disk)
      onTestFinished(() => server.remove())
      const database = { postgres: server.createDatabase() }
      const acting = startActing(database, { together: 8, retry: true })
      await acting.more(20)
      const filler = await fill(disk, 256 * 1024)
      while (acting.refusals.length === 0) await pause(20)
      await pause(500)
      await rm(filler)
      // It may have ended for want of room for its log, as it is meant to.
      await server.stop('SIGINT')
      await server.start()
      await acting.more(20)
      await acting.kill()
      for (const code of acting.refusals) expect(code).toMatch(/^(CONNECTION|OUTCOME|BUSY|SQL)$/)
      await expectThere(database, acting.acts)
    },
  )
})
