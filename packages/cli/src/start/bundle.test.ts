import { execFile } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { COMMANDS_BUNDLE, freshBundle, NOT_OF_RUN } from './bundle.ts'
import { makeBundle } from './make-bundle.ts'
import { makeCommandsBundle } from './make-commands-bundle.ts'

const SLOW = process.env['SLOW'] === '1'

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

/** What a command came to, without what `cloister doctor` finds other from one moment to the next. */
function steady([code, ...said]: readonly unknown[]): readonly unknown[] {
  return [code, ...said.map(text => String(text).replace(/\d+ MiB (free|of it)/g, 'MiB $1'))]
}

describe('the bundle of all commands', () => {
  const bundled = fileURLToPath(COMMANDS_BUNDLE)

  beforeAll(async () => {
    if (freshBundle(COMMANDS_BUNDLE) !== undefined) return
    await makeCommandsBundle(here('any-command.js'), fileURLToPath(new URL('.', COMMANDS_BUNDLE)))
  }, 120_000)

  // Of every family a command that gets past its arguments, and fails.
  const FAILING: readonly (readonly string[])[] = [
    [],
    ['demo', '--rows', 'many'],
    ['kms', 'backup', '--data', 'nowhere', '--out', 'copy.db'],
    ['key', 'list'],
    ['account', 'list'],
    ['audit', 'verify', 'nowhere'],
    ['policy', 'test', 'nowhere.json'],
    ['encrypt', 'nowhere.csv', 'sealed', '--key', 'people'],
    ['verify', 'nowhere'],
    ['enclave', 'measure', 'nowhere'],
    ['run', 'nowhere.yaml', '--on', 'k8s'],
    ['contained', 'nowhere'],
    ['executor', 'nowhere.yaml', '--driver', 'nowhere:1'],
    ['sql', '--table', 'people=nowhere', 'select 1'],
    ['receipt', 'verify', 'nowhere.jws'],
    ['attest', 'inspect', 'nowhere'],
    ['pccs', 'unpack', 'nowhere.json', '--out', 'collateral'],
    ['cluster', 'render', 'nowhere.yaml'],
    ['doctor'],
  ]

  it('says what the modules say, of every family', { timeout: 600_000 }, async () => {
    const home = ['--home', join(folder, 'home')]
    const calls = FAILING.flatMap(failing => {
      const name = failing.slice(0, 1)
      const wrong = expect.toSatisfy(code => code !== 0 || failing[0] === 'doctor')
      const usage = [
        { argv: [...name, '--help'], code: 0 },
        { argv: [...name, '--odd'], code: 2 },
        { argv: [...name, '--odd', '--json'], code: 2 },
      ]
      return [{ argv: [...home, ...failing], code: wrong }, ...(SLOW ? usage : [])]
    })
    const seen: (readonly unknown[])[] = []
    for (const { argv } of calls) seen.push(steady(await ended(bundled, argv)))
    const list = JSON.stringify(calls.map(({ argv }) => argv))
    const [, modules] = await ended(here('modules.test.support.js'), [list])
    expect(seen).toEqual(JSON.parse(String(modules)).map(steady))
    expect(seen.map(([code]) => code)).toEqual(calls.map(({ code }) => code))
  })

  it('measures what the modules measure', { timeout: 240_000 }, async () => {
    const manifests: Buffer[] = []
    for (const [index, program] of [bundled, here('any-command.js')].entries()) {
      const image = `image-${index}`
      const [code, , stderr] = await ended(program, ['enclave', 'build', 'query-runner', image])
      expect(code, String(stderr)).toBe(0)
      manifests.push(await readFile(join(folder, image, 'manifest.json')))
    }
    expect(manifests[0]).toEqual(manifests[1])
  })

  it('holds one build at a time, and is as old as its beginning', async () => {
    const around = await mkdtemp(join(folder, 'commands-'))
    const made = join(around, 'made')
    const entry = join(around, 'entry.js')
    const build = async (word: string) => {
      await writeFile(join(around, 'shared.js'), `export const word = '${word}'`)
      await makeCommandsBundle(entry, made)
    }
    await writeFile(
      entry,
      "import { word } from './shared.js'\nconsole.log(word, (await import('./late.js')).late)",
    )
    await writeFile(
      join(around, 'late.js'),
      "import { word } from './shared.js'\nexport const late = word.length",
    )
    await build('first')
    const before = Date.now()
    await Promise.all(Array.from({ length: 4 }, () => build('second')))
    const first = join(made, 'entry.mjs')
    expect(await ended(first, [])).toEqual([0, 'second 6\n', ''])
    expect((await stat(first)).mtimeMs).toBeGreaterThanOrEqual(before - 1)
    const names = await readdir(made)
    expect(names).toHaveLength(3)
    // What it fails with leaves what was there.
    await writeFile(join(around, 'shared.js'), "export { word } from 'not-installed-anywhere'")
    await expect(makeCommandsBundle(entry, made)).rejects.toThrow('not-installed-anywhere')
    expect(await readdir(made)).toEqual(names)
    expect(await ended(first, [])).toEqual([0, 'second 6\n', ''])
  })

  it('is not made where a command could fail by it alone', async () => {
    const around = await mkdtemp(join(folder, 'unsafe-'))
    const entry = join(around, 'entry.js')
    await writeFile(join(around, 'late.cjs'), "exports.name = 'name'")
    const build = async (text: string) => {
      await writeFile(entry, text)
      await makeCommandsBundle(entry, join(around, 'made'))
    }
    await build("try { require('bufferutil') } catch {}")
    await expect(build("try { require('absent') } catch {}")).rejects.toThrow('absent')
    await expect(build("(await import('./late.cjs')).name")).rejects.toThrow('late.cjs')
    await expect(build('await import(process.argv[2])')).rejects.toThrow('entry.js')
  })
})

describe('the bundle of `cloister run`', () => {
  it('does and says what the modules do that it is made of', { timeout: 120_000 }, async () => {
    const bundled = join(folder, 'run.mjs')
    await makeBundle(here('run-command.js'), bundled, NOT_OF_RUN)
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
