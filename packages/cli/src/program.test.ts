import { readFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { cloisterAt } from './cloister.test.support.ts'
import { createProgram } from './program.ts'

const loadedFor = async (...words: readonly string[]) =>
  (await createProgram(['node', 'cloister', ...words])).commands.map(command => command.name())

describe('commands', () => {
  it('are loaded as far as the command line is about them', async () => {
    expect(await loadedFor('key', 'list')).toEqual(['key'])
    expect(await loadedFor('--help')).toContain('cluster')
    for (const words of [['--version'], ['--home', 'x', '--version'], ['--version', '--json']]) {
      expect(await loadedFor(...words)).toEqual([])
    }
    // A folder of that name.
    expect(await loadedFor('--home', '--version')).toContain('cluster')
    expect(await loadedFor('key', '--version')).toEqual(['key'])
  })
})

describe('cloister --version', () => {
  it('says the version of the package', async () => {
    const text = await readFile(new URL('../package.json', import.meta.url), 'utf8')
    const { version } = JSON.parse(text)
    const place = { home: 'nowhere' }
    const told = { code: 0, stdout: `${version}\n`, stderr: '' }
    expect(await cloisterAt(place, '--version')).toEqual(told)
    const { stdout } = await cloisterAt(place, '--version', '--json')
    expect(JSON.parse(stdout)).toEqual({ version })
  })
})
