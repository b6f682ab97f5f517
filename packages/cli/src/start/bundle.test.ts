import { execFile } from 'node:child_process'
import { mkdtemp, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { bundle } from '@cloister/enclave'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { freshBundle } from './bundle.ts'

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
    await writeFile(bundled, await bundle({ entry: here('run-command.js'), external: [] }))
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
