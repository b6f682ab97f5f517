import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { bundle } from '../../image/bundle.ts'
import { initModule } from '../../init/module.ts'
import { findBubblewrap } from '../../launcher/start.ts'

const bubblewrap = findBubblewrap() ?? ''

describe.runIf(bubblewrap !== '')('init, where Occlum’s device is', () => {
  let folder: string

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'cloister-occlum-init-'))
    writeFileSync(join(folder, 'init.mjs'), await bundle({ entry: initModule(), external: [] }))
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  const init = (...argv: readonly string[]) =>
    spawnSync(
      bubblewrap,
      [
        ...['--unshare-all', '--clearenv', '--ro-bind', '/', '/', '--dev', '/dev'],
        // A character device: of what kind does not matter to finding it.
        ...['--dev-bind', '/dev/null', '/dev/sgx', '--proc', '/proc', '--bind', folder, folder],
        ...['--', process.execPath, join(folder, 'init.mjs'), ...argv],
      ],
      { encoding: 'utf8' },
    )

  it.each([
    ['as it is', []],
    ['with a base folder of the host’s', ['/tmp']],
  ])('runs no job, %s', (_how, argv) => {
    const { status, stderr } = init(...argv)
    expect([status, stderr]).toEqual([70, 'init: IMAGE: init runs no jobs under Occlum\n'])
  })
})
