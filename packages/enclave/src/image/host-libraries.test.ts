import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { sharedLibraries } from './host-libraries.ts'

const compiler = spawnSync('cc', ['--version']).status === 0
const why = compiler ? '' : ' (skipped: no C compiler)'

let home: string

beforeAll(() => {
  home = realpathSync(mkdtempSync(join(tmpdir(), 'cloister-libraries-')))
  for (const folder of ['app/bin', 'app/lib', 'elsewhere']) {
    mkdirSync(join(home, folder), { recursive: true })
  }
})

afterAll(() => rmSync(home, { recursive: true, force: true }))

const cc = (...args: readonly string[]) => execFileSync('cc', [...args], { cwd: home })

function build(library: string, runpath: string): string {
  writeFileSync(join(home, 'x.c'), 'int inner(void) { return 7; }\n')
  cc('-shared', '-fPIC', '-o', library, '-Wl,-soname,libinner.so', 'x.c')
  writeFileSync(join(home, 'x.c'), 'int inner(void);\nint main(void) { return inner(); }\n')
  cc('-o', 'app/bin/program', 'x.c', library, `-Wl,-rpath,${runpath}`)
  return join(home, 'app/bin/program')
}

describe.skipIf(!compiler)(`the shared libraries of a file on this machine${why}`, () => {
  it('keep their place relative to it where it finds them by its own, up and down again', async () => {
    const program = build('app/lib/libinner.so', '$ORIGIN/../lib')
    const found = await sharedLibraries(program, '/opt/java/bin/java')
    const inner = found.find(({ from }) => from.endsWith('libinner.so'))
    expect(inner?.to).toBe('/opt/java/lib/libinner.so')
    expect(realpathSync(inner?.from ?? '')).toBe(join(home, 'app/lib/libinner.so'))
    expect(found.some(({ from, to }) => from === to && from.includes('/libc.so'))).toBe(true)
  })

  it('are refused where the image would not have them: a folder that is named outright', async () => {
    const program = build('elsewhere/libinner.so', join(home, 'elsewhere'))
    await expect(sharedLibraries(program, '/app/program')).rejects.toMatchObject({
      code: 'LIBRARY',
      message: expect.stringContaining('elsewhere/libinner.so'),
    })
  })
})
