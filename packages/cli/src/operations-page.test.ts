import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { WEAK_SWITCHES } from '@cloister/kms/server'
import { expect, it } from 'vitest'
import { createProgram } from './program.ts'
import { served } from './served.test.support.ts'

const PAGE = readFileSync(new URL('../../../docs/operations.md', import.meta.url), 'utf8')
const ANALYZE = '/usr/bin/systemd-analyze'
const unit =
  /```ini\n# \/etc\/systemd\/system\/cloister-kms\.service\n([^`]+)```/.exec(PAGE)?.[1] ?? ''

it('names metrics that there are, and all of ours', { timeout: 60_000 }, async () => {
  const kms = await served(['--metrics-port', '0'])
  const text = await (await fetch(kms.metrics ?? '')).text()
  await kms.stop()
  const there = [...text.matchAll(/^# TYPE (cloister_\w+)/gm)].map(([, name]) => name)
  const named = [...PAGE.matchAll(/\b(cloister_[a-z_]+)/g)].map(([, name = '']) => {
    return name.replace(/_(bucket|count|sum)$/, '')
  })
  expect([...new Set(named)].sort()).toEqual([...new Set(there)].sort())
  expect(Object.keys(WEAK_SWITCHES)).toContain('root-key-file')
})

it('starts the service with flags that there are', async () => {
  const program = await createProgram()
  const kms = program.commands.find(command => command.name() === 'kms')
  const serve = kms?.commands.find(command => command.name() === 'serve')
  const known = new Set(serve?.options.map(({ long }) => long))
  const line = /^ExecStart=(.+)$/m.exec(unit)?.[1] ?? ''
  const flags = line.match(/--[a-z-]+/g) ?? []
  expect(flags.length).toBeGreaterThan(4)
  for (const flag of flags) expect(known).toContain(flag)
})

it.skipIf(!existsSync(ANALYZE))(
  'has a unit that systemd takes (skipped without systemd-analyze)',
  async () => {
    const folder = await mkdtemp(join(tmpdir(), 'cloister-unit-'))
    const path = join(folder, 'cloister-kms.service')
    // There is no such command on this machine.
    await writeFile(path, unit.replace('/usr/bin/cloister', process.execPath))
    const run = promisify(execFile)
    const { stderr, stdout } = await run(ANALYZE, ['verify', '--man=no', path])
    expect(stdout + stderr).toBe('')
    await rm(folder, { recursive: true })
  },
)
