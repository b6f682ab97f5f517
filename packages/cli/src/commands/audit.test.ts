import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { cloisterAt, MAIN } from '../cloister.test.support.ts'
import { EXIT } from '../output/exit-codes.ts'

let folder: string
let port: string
let kms: ChildProcess

const cloister = (...argv: readonly string[]) =>
  cloisterAt({ home: join(folder, 'home'), cwd: folder }, ...argv)

const serveArgv = (...more: readonly string[]) => [
  ...[MAIN, '--home', join(folder, 'home'), 'kms', 'serve', '--data', join(folder, 'kms')],
  ...more,
]

async function serve(onPort: string): Promise<void> {
  kms = spawn(process.execPath, serveArgv('--port', onPort), {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  if (kms.stdout === null) throw new Error('the key service has an output')
  for await (const line of createInterface({ input: kms.stdout })) {
    if (line.includes('pin:')) break
  }
}

async function stop(): Promise<void> {
  kms.kill('SIGTERM')
  await once(kms, 'exit')
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cloister-cli-'))
  await serve('0')
  const pin = join(folder, 'kms', 'kms.json')
  port = new URL(JSON.parse(await readFile(pin, 'utf8')).url).port
  const token = join(folder, 'kms', 'enrolment-token')
  const enrolled = await cloister('kms', 'enrol', '--pin', pin, '--token-file', token)
  expect(enrolled).toMatchObject({ code: 0 })
}, 60_000)

afterAll(async () => {
  if (kms.exitCode === null) await stop()
  await rm(folder, { recursive: true, force: true })
})

describe('cloister audit', () => {
  it('exports a log that verifies offline, and names the row that was changed', async () => {
    for (const alias of ['one', 'two', 'three']) await cloister('key', 'create', '--alias', alias)
    const token = join(folder, 'kms', 'audit-token')
    const exported = await cloister('audit', 'export', 'all.log', '--token-file', token)
    expect(exported).toMatchObject({ code: 0 })
    await cloister('audit', 'checkpoint', '--out', 'kept')
    const good = await cloister('audit', 'verify', 'all.log', '--checkpoint', 'kept')
    expect(good).toMatchObject({ code: 0, stdout: expect.stringContaining('intact: 4 rows') })
    expect(good.stdout).toContain(await readFile(join(folder, 'kept'), 'utf8'))

    const text = await readFile(join(folder, 'all.log'), 'utf8')
    const [row = ''] = /row\t2\t.*/.exec(text) ?? []
    await writeFile(join(folder, 'bad.log'), text.replace(row, row.replace('done', 'none')))
    const changed = await cloister('audit', 'verify', 'bad.log')
    expect(changed).toMatchObject({ code: EXIT.notAuthentic })
    expect(changed.stdout).toMatch(/^altered: 4 rows.*\n {2}changed: row 2 was changed \(line 4\)/)
    const { code, stdout } = await cloister('--json', 'audit', 'verify', 'bad.log')
    const finding = { kind: 'changed', rows: [2, 2] }
    expect([code, JSON.parse(stdout)]).toMatchObject([4, { findings: [finding] }])
    await writeFile(join(folder, 'no.log'), 'row\n')
    const none = await cloister('audit', 'verify', 'no.log')
    expect([none.code, none.stderr.includes('[EXPORT]')]).toEqual([EXIT.notAuthentic, true])

    // Older than what this home has seen since: said, and no fault of the export's.
    await cloister('key', 'create')
    const older = await cloister('audit', 'verify', 'all.log')
    expect([older.code, older.stderr.includes('newer checkpoint')]).toEqual([0, true])
    await cloister('audit', 'checkpoint', '--out', 'newer', '--since', 'kept')
    const cut = await cloister('audit', 'verify', 'all.log', '--checkpoint', 'newer')
    expect([cut.code, cut.stdout.includes('removed')]).toEqual([EXIT.notAuthentic, true])
  })

  it('every command refuses a key service whose database was put back', async () => {
    await stop()
    await cp(join(folder, 'kms'), join(folder, 'copy'), { recursive: true })
    await serve(port)
    expect(await cloister('key', 'create', '--alias', 'late')).toMatchObject({ code: 0 })
    const witness = join(folder, 'witness')
    await cloister('audit', 'checkpoint', '--out', witness)
    await stop()
    await rm(join(folder, 'kms'), { recursive: true })
    await cp(join(folder, 'copy'), join(folder, 'kms'), { recursive: true })

    const watched = spawn(process.execPath, serveArgv('--port', port, '--witness', witness), {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    let said = ''
    watched.stderr.on('data', (chunk: Buffer) => {
      said += chunk.toString()
    })
    const [code] = await once(watched, 'close')
    expect([code, said]).toEqual([EXIT.notAuthentic, expect.stringContaining('[ROLLED_BACK]')])

    await serve(port)
    for (const argv of [
      ['key', 'list'],
      ['key', 'create'],
      ['audit', 'checkpoint'],
      ['audit', 'export', 'after.log'],
    ]) {
      const ended = await cloister(...argv)
      expect([argv, ended.code]).toEqual([argv, EXIT.notAuthentic])
      expect(ended.stderr).toMatch(/an older database was put back \[LOG_HISTORY\]\n {2}next: /)
    }
  })

  it('but goes on with one that was restored openly, when told so', async () => {
    const data = ['--data', join(folder, 'kms')]
    const witness = join(folder, 'witness')
    expect(await cloister('kms', 'restore', ...data)).toMatchObject({ code: EXIT.usage })
    const running = await cloister('kms', 'restore', ...data, '--in-place')
    expect(running).toMatchObject({ code: EXIT.storage })
    expect(running.stderr).toContain('[LOCKED]')
    const backup = join(folder, 'backup')
    const copied = await cloister('kms', 'backup', ...data, '--out', backup)
    expect(copied).toMatchObject({ code: 0 })
    expect(copied.stderr).toContain('THE ROOT KEY IS NOT IN IT')
    const twice = await cloister('kms', 'backup', ...data, '--out', backup)
    expect(twice).toMatchObject({ code: EXIT.usage })
    expect(twice.stderr).toContain('name another, or remove it')
    await stop()
    const occupied = await cloister('kms', 'restore', ...data, '--in', backup)
    expect(occupied).toMatchObject({ code: EXIT.storage })
    const elsewhere = ['--data', join(folder, 'elsewhere')]
    const rootless = await cloister('kms', 'restore', ...elsewhere, '--in', backup)
    expect(rootless).toMatchObject({ code: EXIT.notFound })
    await rm(join(folder, 'kms', 'kms.db'))
    const argv = ['kms', 'restore', ...data, '--in', backup, '--witness', witness]
    const restored = await cloister(...argv)
    expect(restored).toMatchObject({ code: 0 })
    expect(restored.stderr).toContain('WHAT WAS DONE AFTER THE BACKUP IS LOST')
    const logSize = Number(/first (\d+) rows/.exec(restored.stdout)?.[1])
    expect(copied.stdout).toContain(`with ${logSize} rows`)
    expect(restored.stdout).toContain(`cloister audit accept-restored --rows ${logSize}`)
    kms = spawn(process.execPath, serveArgv('--port', port, '--witness', witness), {
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    if (kms.stdout === null) throw new Error('the key service has an output')
    for await (const line of createInterface({ input: kms.stdout })) {
      if (line.includes('pin:')) break
    }
    expect(await cloister('key', 'list')).toMatchObject({ code: EXIT.notAuthentic })
    const rows = ['audit', 'accept-restored', '--rows']
    expect(await cloister(...rows, 'all')).toMatchObject({ code: EXIT.usage })
    expect(await cloister(...rows, String(logSize + 1))).toMatchObject({ code: EXIT.notAuthentic })
    const accepted = await cloister(...rows, String(logSize))
    expect(accepted).toMatchObject({ code: 0 })
    expect(accepted.stderr).toContain('ARE LOST')
    const listed = await cloister('key', 'list')
    expect(listed).toMatchObject({ code: 0 })
    expect(listed.stdout).toContain('three')
    expect(listed.stdout).not.toContain('late')
  })
})
