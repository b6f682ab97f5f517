import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { cp, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { type RootKeeping, rotateRoot, Secret } from './index.ts'
import { filledData } from './rotated-kms.test.fixture.ts'
import { editDatabase, readDatabase } from './store/temporary-store.test.fixture.ts'

const STRACE = 'strace'
const FILE = { kind: 'file' } as const
const at = new Date('2026-01-01T00:00:00Z')
const CHEAP = { n: 2 ** 14, r: 8, p: 1 }
const passphrase = (text: string): RootKeeping => ({
  kind: 'passphrase',
  passphrase: Secret.from(Buffer.from(text)),
  cost: CHEAP,
})

/** Everything in the database that is wrapped or MACed. */
function protectedValues(dataDir: string): readonly string[] {
  const path = join(dataDir, 'kms.db')
  const stamped = readDatabase(
    path,
    `select m.name as name from sqlite_master m join pragma_table_info(m.name) c
     where m.type = 'table' and c.name = 'mac'`,
  )
  return stamped.flatMap(({ name }) =>
    readDatabase(path, `select * from ${String(name)}`).flatMap(row =>
      ['mac', 'wrapped', 'api_key', 'previous_api_key', 'root_check'].flatMap(column =>
        typeof row[column] === 'string' ? [`${String(name)}.${column} ${String(row[column])}`] : [],
      ),
    ),
  )
}

describe('another root key', () => {
  it('takes over everything, from one way of keeping it to another', async () => {
    const data = await filledData(FILE)
    const { dataDir } = data
    const before = protectedValues(dataDir)
    expect(before.length).toBeGreaterThan(20)
    const horse = passphrase('correct horse battery')
    expect(await rotateRoot({ dataDir, from: FILE, to: horse, at })).toBe('rotated')
    expect((await readdir(dataDir)).filter(name => name.startsWith('root'))).toEqual(['root.json'])
    const between = protectedValues(dataDir)
    const kept = between.filter(value => before.includes(value))
    expect(kept).toEqual([])
    await data.expectWhole(dataDir, horse, true)
    await expect(data.expectWhole(dataDir, FILE)).rejects.toMatchObject({ code: 'KIND' })
    expect(await rotateRoot({ dataDir, from: horse, to: FILE, at })).toBe('rotated')
    expect(await rotateRoot({ dataDir, from: FILE, to: FILE, at })).toBe('rotated')
    await data.expectWhole(dataDir, FILE, true)
    const [entries] = readDatabase(
      join(dataDir, 'kms.db'),
      `select count(*) as n from audit_leaves where entry like '%"root.rotate"%'`,
    )
    expect(entries).toEqual({ n: 3 })
  })

  it('is known by every kind of thing that is wrapped or derived', async () => {
    const folder = fileURLToPath(new URL('.', import.meta.url))
    const files = (await readdir(folder, { recursive: true })).filter(
      name => name.endsWith('.js') && !name.includes('.test.'),
    )
    const used = new Set<string>()
    for (const name of files) {
      const code = await readFile(join(folder, name), 'utf8')
      for (const [, purpose = ''] of code.matchAll(
        /(?:derivedFrom\(\w+, |\.derive\()'([a-z-]+)'/g,
      )) {
        used.add(purpose)
      }
    }
    // Wrapped: moved by rotate-root.ts. A new purpose goes there first, and then here.
    const wrapped = ['cmk-wrap', 'ehsm-wrap', 'secret-wrap']
    // Kept as a secret from the first start on, or lost with what lasts a day at most.
    const others = ['challenge', 'credential', 'ehsm-import', 'import-token', 'run-secret']
    expect([...used].sort()).toEqual([...wrapped, ...others].sort())
  })

  it('leaves the one before worth nothing', async () => {
    const { copy, dataDir, expectWhole } = await filledData(FILE)
    const older = await copy()
    await rotateRoot({ dataDir, from: FILE, to: FILE, at })
    await cp(join(older, 'root.key'), join(dataDir, 'root.key'))
    await expect(expectWhole(dataDir, FILE)).rejects.toMatchObject({ code: 'WRONG_ROOT_KEY' })
  })

  it.each([
    `update keys set mode = 'open'`,
    `delete from policies`,
    `update audit_leaves set entry = replace(entry, 'done', 'seen')`,
  ])('is not given to a database that was edited: %s', async statement => {
    const { dataDir } = await filledData(FILE)
    expect(editDatabase(join(dataDir, 'kms.db'), statement)).toBeGreaterThan(0)
    const before = await readFile(join(dataDir, 'root.key'))
    const rotating = rotateRoot({ dataDir, from: FILE, to: FILE, at })
    await expect(rotating).rejects.toMatchObject({ code: 'ROW_MAC' })
    expect(await readFile(join(dataDir, 'root.key'))).toEqual(before)
  })

  const script = fileURLToPath(new URL('./rotate-root-process.test.support.js', import.meta.url))
  const canTrace = spawnSync(STRACE, ['-o', '/dev/null', 'true']).status === 0
  const title = canTrace ? '' : ' (skipped: strace is not usable here)'
  /** Kills a rotation at its nth change to the disk; tells whether it lived to its end. */
  async function killedAt(dataDir: string, calls: string, n: number): Promise<'killed' | 'ended'> {
    const inject = `inject=${calls}:signal=SIGKILL:when=${n}`
    const traced = ['-f', '-qq', '-o', '/dev/null', '-e', `trace=${calls}`, '-e', inject]
    const child = spawn(STRACE, [...traced, process.execPath, script, dataDir], {
      stdio: ['ignore', 'ignore', 'inherit'],
      // strace counts by thread, and this is one for all changes to folders.
      env: { ...process.env, UV_THREADPOOL_SIZE: '1' },
    })
    const [code, signal] = await once(child, 'exit')
    if (code === 0) return 'ended'
    expect(signal ?? code).toBe('SIGKILL')
    return 'killed'
  }
  const digestOf = async (path: string) =>
    createHash('sha256')
      .update(await readFile(path))
      .digest('hex')

  it.skipIf(!canTrace).each([
    ['folders', 'mkdir,link,unlink,rename,rmdir', 1],
    ['the database', 'pwrite64,fdatasync', process.env['SLOW'] === '1' ? 1 : 10],
  ] as const)(
    `loses nothing when the rotation is killed at a change to %s${title}`,
    { timeout: 1_200_000 },
    async (_what, calls, stride) => {
      const data = await filledData(FILE)
      const first = await digestOf(join(data.dataDir, 'root.key'))
      const seen = new Set<string>()
      for (let n = 1; ; n += stride) {
        const dataDir = await data.copy()
        const end = await killedAt(dataDir, calls, n)
        await data.expectWhole(dataDir, FILE)
        const isNew = (await digestOf(join(dataDir, 'root.key'))) !== first
        seen.add(`${end} ${isNew ? 'new' : 'old'}`)
        if (end === 'ended') break
        // A second run goes on from wherever the first was.
        const again = await rotateRoot({ dataDir, from: FILE, to: FILE, at })
        expect(again).toBe('rotated')
        await data.expectWhole(dataDir, FILE)
        expect((await readdir(dataDir)).filter(name => name.startsWith('root'))).toEqual([
          'root.key',
        ])
      }
      expect([...seen].sort()).toEqual(['ended new', 'killed new', 'killed old'])
    },
  )
})
