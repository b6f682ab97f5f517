import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { INIT_CACHE, INIT_CODE } from '../init/compiled.ts'
import { compiledInitModules } from '../init/module.ts'
import { INIT_OPTION } from '../init/option.ts'
import { bundle } from './bundle.ts'
import { COMPILER, COMPILER_OPTIONS } from './init.ts'

let folder: string
const inFolder = (name: string) => join(folder, name)

/** As the build has an image's Node do it. */
function compile(cache: string, environment: NodeJS.ProcessEnv = {}): Buffer {
  const argv = [...COMPILER_OPTIONS, inFolder('compile.cjs'), inFolder(INIT_CODE), inFolder(cache)]
  execFileSync(process.execPath, argv, { env: environment, cwd: folder })
  return readFileSync(inFolder(cache))
}

/** What init's first file says of itself, where nothing of an instance is around it. */
function begun(file: string) {
  const argv = [INIT_OPTION, inFolder(file)]
  const { status, stderr } = spawnSync(process.execPath, argv, { env: {}, encoding: 'utf8' })
  return { status, stderr }
}

/** Whether V8 takes what was made. */
const LOOK = `
const [code, cache] = process.argv.slice(2).map(path => require('node:fs').readFileSync(path))
const script = new (require('node:vm').Script)(code.toString(), { cachedData: cache })
console.log(script.cachedDataRejected)
`

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'cloister-init-'))
  const { start, code } = compiledInitModules()
  const put = async (name: string, entry: string, kind: 'commonjs' | 'function') =>
    writeFileSync(inFolder(name), await bundle({ entry, external: [], kind }))
  await put('init.cjs', start, 'commonjs')
  await put(INIT_CODE, code, 'function')
  writeFileSync(inFolder('compile.cjs'), COMPILER)
  writeFileSync(inFolder('look.cjs'), LOOK)
  compile(INIT_CACHE)
})

afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe('compiled init', () => {
  it('is the same to the bit, whoever compiles it', () => {
    const made = readFileSync(inFolder(INIT_CACHE))
    expect(compile('again.cache').equals(made)).toBe(true)
    const elsewhere = { TZ: 'Asia/Tokyo', LANG: 'de_DE', HOME: '/' }
    expect(compile('elsewhere.cache', elsewhere).equals(made)).toBe(true)
  })

  it('is what V8 goes by, under the option that init has', () => {
    const rejected = (cache: string) => {
      const argv = [INIT_OPTION, inFolder('look.cjs'), inFolder(INIT_CODE), inFolder(cache)]
      return execFileSync(process.execPath, argv, { env: {}, encoding: 'utf8' })
    }
    expect(rejected(INIT_CACHE)).toBe('false\n')
    writeFileSync(inFolder('other.cache'), 'of another Node')
    expect(rejected('other.cache')).toBe('true\n')
  })

  it('begins as init does that is not compiled', () => {
    const seen = begun('init.cjs')
    expect(seen).toEqual({ status: 70, stderr: expect.stringMatching(/^init: /) })
    writeFileSync(inFolder(INIT_CACHE), 'of another Node')
    expect(begun('init.cjs')).toEqual(seen)
    compile(INIT_CACHE)
  })
})
