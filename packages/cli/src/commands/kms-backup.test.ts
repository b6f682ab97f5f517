import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { expect, it, onTestFinished } from 'vitest'
import { cloister, MAIN } from '../cloister.test.support.ts'

async function serve(home: string, port: string): Promise<ChildProcess> {
  const argv = ['--home', home, 'kms', 'serve', '--port', port]
  const kms = spawn(process.execPath, [MAIN, ...argv], { stdio: ['ignore', 'pipe', 'ignore'] })
  for await (const line of createInterface({ input: kms.stdout })) {
    if (line.includes('pin:')) break
  }
  return kms
}

async function stop(kms: ChildProcess): Promise<void> {
  kms.kill('SIGTERM')
  if (kms.exitCode === null) await once(kms, 'exit')
}

it('a key service goes on from a backup, and whoever saw more follows it only when told to', {
  timeout: 120_000,
}, async () => {
  const home = await mkdtemp(join(tmpdir(), 'cloister-backup-'))
  onTestFinished(() => rm(home, { recursive: true, force: true }))
  const [data, other] = [join(home, 'kms'), join(home, 'other')]
  const backup = join(home, 'kms.backup')
  const json = async (...argv: readonly string[]) => {
    const ended = await cloister(home, '--json', ...argv)
    expect([argv, ended.code, ended.stderr]).toEqual([argv, 0, expect.anything()])
    return JSON.parse(ended.stdout)
  }

  const first = await serve(home, '0')
  const pin = join(data, 'kms.json')
  const { port } = new URL(JSON.parse(await readFile(pin, 'utf8')).url)
  const token = join(data, 'enrolment-token')
  await json('kms', 'enrol', '--pin', pin, '--token-file', token)
  const kept = await json('key', 'create')
  expect(await json('kms', 'backup', '--out', backup)).toMatchObject({ holdsRootKey: false })
  const lost = await json('key', 'create')
  await json('audit', 'checkpoint')
  const twice = await cloister(home, 'kms', 'backup', '--out', backup)
  expect(twice.code).not.toBe(0)
  await stop(first)
  const database = ['', '-wal', '-shm'].map(end => join(data, `kms.db${end}`))

  // The root key is not in it: elsewhere it opens nothing.
  const foreign = await cloister(home, 'kms', 'restore', '--data', other, '--in', backup)
  expect(foreign.code).not.toBe(0)

  const occupied = await cloister(home, 'kms', 'restore', '--in', backup)
  expect(occupied.code).not.toBe(0)
  await Promise.all(database.map(file => rm(file, { force: true })))
  const { logSize } = await json('kms', 'restore', '--in', backup)
  const second = await serve(home, port)
  onTestFinished(() => stop(second))
  const refused = await cloister(home, 'audit', 'checkpoint')
  expect(refused.code).toBe(4)
  expect(refused.stderr).toContain('LOG_HISTORY')
  await json('audit', 'accept-restored', '--rows', String(logSize))
  const keys = await json('key', 'list')
  const ids = keys.map(({ keyId }: { keyId: string }) => keyId)
  expect(ids).toContain(kept.keyId)
  expect(ids).not.toContain(lost.keyId)
})
