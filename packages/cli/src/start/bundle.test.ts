import { execFile } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { freshBundle } from './bundle.ts'
import { makeBundle } from './make-bundle.ts'

let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cloister-bundle-'))
})

afterAll(() => rm(folder, { recursive: true }))

const here = (name: string) => fileURLToPath(new URL(name, import.meta.url))

function ended(program: string, argv: readonly string[]): Promise<readonly unknown[]> {
  return new Promise(resolve => {
    execFile(process.execPath, [program, ...argv], { cwd: folder }, (error, stdout, stderr) =>
      resolve([error?.code ?? 0, stdout, stderr]),
    )
  })
}

describe('the bundle of `cloister run`', () => {
  it('does and says what the modules do that it is made of', { timeout: 120_000 }, async () => {
    const bundled = join(folder, 'run.mjs')
    await makeBundle(here('run-command.js'), bundled)
    await writeFile(join(folder, 'odd.yaml'), 'version: 1\nimagee: image\n')
    const calls = [
      ['run', 'nowhere.yaml'],
      ['run', 'odd.yaml'],
      ['run', 'odd.yaml', '--json'],
      ['run', '--odd'],
      ['run', '--help'],
    ]
    for (const argv of calls) {
      const seen = await ended(bundled, argv)
      expect(seen).toEqual(await ended(here('any-command.js'), argv))
      expect(seen.join()).not.toBe('0,,')
    }
  })

  it('is whole when several builds make it at once, and as old as their beginning', async () => {
    const around = await mkdtemp(join(folder, 'builds-'))
    const [entry, file] = [join(around, 'entry.mjs'), join(around, 'made.mjs')]
    await writeFile(entry, `console.log('${'long '.repeat(10_000)}')`)
    const before = Date.now()
    const builds = Array.from({ length: 8 }, () => makeBundle(entry, file))
    // Written while it is read: the next look finds it newer.
    const changed = join(around, '.tsbuildinfo')
    await writeFile(changed, '')
    await Promise.all(builds)
    expect((await stat(file)).mtimeMs).toBeGreaterThanOrEqual(before - 1)
    await utimes(changed, new Date(), new Date())
    expect(freshBundle(pathToFileURL(file), [pathToFileURL(changed)])).toBeUndefined()
    expect(await ended(file, [])).toEqual([0, `${'long '.repeat(10_000)}\n`, ''])
    expect((await readdir(around)).sort()).toEqual(['.tsbuildinfo', 'entry.mjs', 'made.mjs'])
    const made = await readFile(file)
    await writeFile(entry, 'this is no module')
    await expect(makeBundle(entry, file)).rejects.toMatchObject({ code: 'BUNDLE' })
    expect(await readFile(file)).toEqual(made)
    expect(await readdir(around)).toHaveLength(3)
  })

  it('is used while nothing that it was made of is newer', async () => {
    const at = async (name: string, seconds: number) => {
      await writeFile(join(folder, name), '')
      await utimes(join(folder, name), seconds, seconds)
      return pathToFileURL(join(folder, name))
    }
    const made = await at('made', 2000)
    const [older, newer] = [await at('older', 1999), await at('newer', 2001)]
    const absent = pathToFileURL(join(folder, 'absent'))
    expect(freshBundle(made, [older, absent])).toEqual(made)
    expect(freshBundle(made, [older, newer])).toBeUndefined()
    expect(freshBundle(absent, [older])).toBeUndefined()
  })
})
