import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startKms } from '@cloister/kms/server'
import { describe, expect, it, onTestFinished } from 'vitest'
import { cloisterAt } from '../cloister.test.support.ts'
import { platformAppraisal } from './kms.ts'

describe('cloister kms rotate-root', () => {
  it('moves a root key from its file to a passphrase, and says what stands in its way', {
    timeout: 60_000,
  }, async () => {
    const home = await mkdtemp(join(tmpdir(), 'cloister-rotate-'))
    onTestFinished(() => rm(home, { recursive: true, force: true }))
    const dataDir = join(home, 'kms')
    const kms = await startKms({
      dataDir,
      port: 0,
      rootKey: { kind: 'file' },
      roots: [],
      collateralDir: dataDir,
      appraisal: platformAppraisal(false),
    })
    const running = await cloisterAt({ home }, 'kms', 'rotate-root')
    expect(running).toMatchObject({ code: 8 })
    expect(running.stderr).toContain('LOCKED')
    await kms.close()
    const unknown = await cloisterAt({ home }, 'kms', 'rotate-root', '--new-root-key', 'memory')
    expect(unknown).toMatchObject({ code: 2 })
    const passphrase = join(home, 'passphrase')
    await writeFile(passphrase, 'correct horse battery\n', { mode: 0o600 })
    const argv = ['kms', 'rotate-root', '--new-root-key', `passphrase:${passphrase}`]
    const moved = await cloisterAt({ home }, '--json', ...argv)
    expect(moved).toMatchObject({ code: 0, stderr: '' })
    expect(JSON.parse(moved.stdout)).toEqual({ done: 'rotated', dataDir, kept: 'passphrase' })
    expect((await readdir(dataDir)).filter(name => name.startsWith('root'))).toEqual(['root.json'])
    const again = await cloisterAt({ home }, ...argv)
    expect(again).toMatchObject({ code: 4 })
    expect(again.stderr).toContain('KIND')

    const sealed = ['kms', 'rotate-root', '--data', dataDir, '--new-root-key', 'sealed:measurement']
    const quiet = await cloisterAt({ home }, ...sealed, '--root-key', `passphrase:${passphrase}`)
    expect(quiet).toMatchObject({ code: 2 })
    const simulated = [...sealed, '--allow-simulated-platform', '--root-key']
    const loud = await cloisterAt({ home }, ...simulated, `passphrase:${passphrase}`)
    expect(loud).toMatchObject({ code: 0 })
    expect(loud.stderr).toContain('PROTECTS NOTHING'.toLowerCase())
    const elsewhere = await cloisterAt(
      { home: join(home, 'other') },
      ...simulated,
      'sealed:measurement',
    )
    expect(elsewhere.stderr).toContain('UNWRAP')
    expect(elsewhere).toMatchObject({ code: 4 })
    expect(await cloisterAt({ home }, ...simulated, 'sealed:measurement')).toMatchObject({
      code: 0,
    })
  })
})
