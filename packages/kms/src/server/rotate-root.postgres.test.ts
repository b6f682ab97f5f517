import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdir, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { rotateRoot } from './index.ts'
import { RootKey } from './root/index.ts'
import { filledData } from './rotated-kms.test.fixture.ts'
import { openStore } from './store/index.ts'
import { POSTGRES_BIN, POSTGRES_MISSING, PostgresServer } from './store/postgres.test.fixture.ts'
import { temporaryFolder } from './store/temporary-store.test.fixture.ts'

const FILE = { kind: 'file' } as const
const ROUNDS = process.env['SLOW'] === '1' ? 40 : 6
const at = new Date('2026-01-01T00:00:00Z')
const SCRIPT = fileURLToPath(new URL('./rotate-root-process.test.support.js', import.meta.url))

let server: PostgresServer

describe.skipIf(POSTGRES_BIN === undefined)(
  `another root key of a database that replicas share${POSTGRES_MISSING}`,
  () => {
    beforeAll(async () => {
      server = await PostgresServer.start()
    })

    afterAll(() => server.remove())

    it('takes over everything, and goes to the other replicas by hand', async () => {
      const postgres = server.createDatabase()
      const { dataDir, expectWhole } = await filledData(FILE, postgres)
      const replica = join(await temporaryFolder(), 'kms')
      await mkdir(replica)
      await cp(join(dataDir, 'root.key'), join(replica, 'root.key'))
      await expectWhole(replica, FILE)
      expect(await rotateRoot({ dataDir, postgres, from: FILE, to: FILE, at })).toBe('rotated')
      await expectWhole(dataDir, FILE)
      await expect(expectWhole(replica, FILE)).rejects.toMatchObject({ code: 'WRONG_ROOT_KEY' })
      await cp(join(dataDir, 'root.key'), join(replica, 'root.key'))
      await expectWhole(replica, FILE)
      // A replica without the root key makes none of its own over what is there.
      const empty = join(await temporaryFolder(), 'kms')
      await expect(expectWhole(empty, FILE)).rejects.toMatchObject({ code: 'MISSING' })
    })

    it('is not made while a replica runs', { timeout: 30_000 }, async () => {
      const postgres = server.createDatabase()
      const { dataDir, expectWhole } = await filledData(FILE, postgres)
      const root = RootKey.from(await readFile(join(dataDir, 'root.key')))
      const store = await openStore({ postgres, root })
      const rotating = rotateRoot({ dataDir, postgres, from: FILE, to: FILE, at })
      await expect(rotating).rejects.toMatchObject({ code: 'LOCKED' })
      await store.close()
      await expectWhole(dataDir, FILE)
      expect(await rotateRoot({ dataDir, postgres, from: FILE, to: FILE, at })).toBe('rotated')
    })

    it('loses nothing when the rotation is killed', { timeout: 600_000 }, async () => {
      const postgres = server.createDatabase()
      const { dataDir, expectWhole } = await filledData(FILE, postgres)
      for (let round = 0; round < ROUNDS; round++) {
        const child = spawn(process.execPath, [SCRIPT, dataDir, JSON.stringify(postgres)])
        const ended = once(child, 'exit')
        setTimeout(() => child.kill('SIGKILL'), 200 + Math.random() * 600)
        await ended
        await expectWhole(dataDir, FILE)
        expect(await rotateRoot({ dataDir, postgres, from: FILE, to: FILE, at })).toBe('rotated')
        await expectWhole(dataDir, FILE)
        const files = await readdir(dataDir)
        expect(files.filter(name => name.startsWith('root'))).toEqual(['root.key'])
      }
    })
  },
)
