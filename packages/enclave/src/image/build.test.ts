import { execFileSync, spawnSync } from 'node:child_process'
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { EnclaveDefinition } from '../definition/schema.ts'
import { type BuildImageOptions, type BuiltImage, buildImage } from './build.ts'
import { inspectImage } from './inspect.ts'
import { verifyImage } from './verify.ts'

const NOBODY = 65_534
const isRoot = process.getuid?.() === 0
const PROGRAM = realpathSync('/bin/true')
const sandbox = spawnSync('bwrap', ['--version']).status === 0

let key: KeyObject
let home: string

beforeAll(() => {
  key = generateKeyPairSync('rsa', { modulusLength: 3072, publicExponent: 3 }).privateKey
})
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'cloister-build-'))
  chmodSync(home, 0o755)
})
afterEach(() => rmSync(home, { recursive: true, force: true }))

const DEFINITION: EnclaveDefinition = {
  version: 1,
  name: 'sample',
  entry: { init: ['/usr/bin/true'], program: ['/usr/bin/true', '--help'] },
  files: [
    { from: PROGRAM, to: '/usr/bin/true', libraries: true },
    { from: 'data', to: '/app/data' },
    { from: 'data/run.sh', to: '/app/run.sh', mode: '0444' },
  ],
  bundles: [{ entry: 'src/main.js', to: '/app/main.mjs' }],
  environment: { TZ: 'UTC' },
  network: 'none',
  identity: { isvProdId: 3, isvSvn: 4 },
  resources: { memoryMiB: 64 },
}

/** Writes the definition's sources into `folder`. */
function sources(folder: string, executable = 0o755): void {
  mkdirSync(join(folder, 'data', 'inner'), { recursive: true })
  mkdirSync(join(folder, 'src', 'lib'), { recursive: true })
  writeFileSync(join(folder, 'data', 'table.csv'), 'name,age\nada,36\n')
  writeFileSync(join(folder, 'data', 'inner', 'empty'), '')
  writeFileSync(join(folder, 'data', 'run.sh'), '#!/bin/sh\n')
  chmodSync(join(folder, 'data', 'run.sh'), executable)
  symlinkSync('../table.csv', join(folder, 'data', 'inner', 'link'))
  writeFileSync(
    join(folder, 'src', 'main.js'),
    `// A comment.
import { readdirSync } from 'node:fs'
import shared from './lib/shared.cjs'
import { WrongError } from './lib/errors.js'
console.log(shared.greet(), readdirSync('/').length > 3, new WrongError().name)
`,
  )
  writeFileSync(
    join(folder, 'src', 'lib', 'shared.cjs'),
    "const { basename } = require('node:path')\nexports.greet = () => basename('/x/hello')\n",
  )
  writeFileSync(
    join(folder, 'src', 'lib', 'errors.js'),
    'export class WrongError extends Error { constructor() { super(); this.name = new.target.name } }\n',
  )
}

/** Everything that an image folder consists of, times included. */
function snapshot(folder: string, path = ''): readonly string[] {
  return readdirSync(join(folder, path))
    .sort()
    .flatMap(name => {
      const inner = join(path, name)
      const full = join(folder, inner)
      const stats = lstatSync(full)
      if (stats.isSymbolicLink()) return [`${inner} -> ${readlinkSync(full)}`]
      const line = `${inner} ${stats.mode.toString(8)} ${stats.mtimeMs}`
      if (stats.isDirectory()) return [line, ...snapshot(folder, inner)]
      return [`${line} ${readFileSync(full).toString('base64')}`]
    })
}

/** Builds in a process of its own, as another user, under a umask. */
function buildElsewhere(options: {
  readonly folder: string
  readonly umask: number
  readonly user: number | undefined
}): BuiltImage {
  const { folder, umask, user } = options
  const job = {
    module: new URL('./build.js', import.meta.url).href,
    key: key.export({ type: 'pkcs8', format: 'pem' }),
    definition: DEFINITION,
    baseDir: folder,
    out: join(folder, 'image'),
  }
  const script = `
    import { createPrivateKey } from 'node:crypto'
    process.umask(${umask})
    let text = ''
    for await (const piece of process.stdin) text += piece
    const { module, key, ...options } = JSON.parse(text)
    const { buildImage } = await import(module)
    const built = await buildImage({ ...options, signKey: createPrivateKey(key) })
    console.log(JSON.stringify(built))`
  const stdout = execFileSync(process.execPath, ['--input-type=module', '-e', script], {
    input: JSON.stringify(job),
    cwd: folder,
    env: { HOME: '/nonexistent', NODE_PATH: '/usr', LANG: 'C', TZ: 'Asia/Shanghai' },
    ...(user === undefined ? {} : { uid: user, gid: user }),
  })
  return JSON.parse(stdout.toString()) as BuiltImage
}

const build = (change: Partial<BuildImageOptions> = {}) =>
  buildImage({
    definition: DEFINITION,
    baseDir: home,
    out: join(home, 'image'),
    signKey: key,
    ...change,
  })

describe('buildImage', () => {
  it(`gives the same bytes in any folder, at any time, under any umask${isRoot ? ', for any user' : ' (other users SKIPPED: not root)'}`, async () => {
    const [one, two] = [join(home, 'one'), join(home, 'a', 'deeper', 'two')]
    sources(one)
    sources(two, 0o700)
    utimesSync(join(two, 'data', 'table.csv'), 1, 2)
    for (const folder of [home, join(home, 'a'), join(home, 'a', 'deeper')])
      chmodSync(folder, 0o755)
    if (isRoot) {
      for (const name of readdirSync(two, { recursive: true, encoding: 'utf8' })) {
        const path = join(two, name)
        if (!lstatSync(path).isSymbolicLink()) chownSync(path, NOBODY, NOBODY)
      }
      chownSync(two, NOBODY, NOBODY)
    }
    const first = buildElsewhere({ folder: one, umask: 0o022, user: undefined })
    const second = buildElsewhere({
      folder: two,
      umask: 0o077,
      user: isRoot ? NOBODY : undefined,
    })
    expect(second.measurement).toBe(first.measurement)
    expect(snapshot(second.folder)).toEqual(snapshot(first.folder))
    if (isRoot) expect(statSync(join(second.folder, 'manifest.json')).uid).toBe(NOBODY)
    const verified = await verifyImage(second.folder, first)
    expect(verified.sigstruct).toMatchObject({ isvProdId: 3, isvSvn: 4 })
  })

  it('changes the measurement with anything that matters, and with nothing else', async () => {
    sources(home)
    const first = await build()
    const changes: readonly Partial<EnclaveDefinition>[] = [
      { environment: { TZ: 'CET' } },
      { identity: { isvProdId: 3, isvSvn: 5 } },
      { identity: { isvProdId: 3, isvSvn: 4, debug: true } },
      { resources: { memoryMiB: 65 } },
      { entry: { init: ['/usr/bin/true'], program: ['/usr/bin/true'] } },
    ]
    const seen = new Set([first.measurement])
    for (const [index, change] of changes.entries()) {
      const definition = { ...DEFINITION, ...change }
      seen.add((await build({ definition, out: join(home, `image${index}`) })).measurement)
    }
    writeFileSync(join(home, 'data', 'table.csv'), 'name,age\nada,37\n')
    seen.add((await build({ out: join(home, 'changed') })).measurement)
    expect(seen.size).toBe(changes.length + 2)
    sources(join(home, 'again'))
    const other = generateKeyPairSync('rsa', { modulusLength: 3072, publicExponent: 3 }).privateKey
    const again = await build({
      baseDir: join(home, 'again'),
      out: join(home, 'again', 'image'),
      signKey: other,
    })
    expect(again.measurement).toBe(first.measurement)
    expect(again.mrSigner).not.toBe(first.mrSigner)
  })

  it('says what it made', async () => {
    sources(home)
    const built = await build()
    const summary = await inspectImage(built.folder, built)
    expect(summary).toMatchObject({
      name: 'sample',
      measurement: built.measurement,
      mrSigner: built.mrSigner,
      identity: { isvProdId: 3, isvSvn: 4, debug: false },
      fileCount: built.fileCount,
      totalBytes: built.totalBytes,
    })
    expect(statSync(join(built.folder, 'root/app/run.sh')).mode & 0o7777).toBe(0o444)
    expect(statSync(join(built.folder, 'root/app/data/run.sh')).mode & 0o7777).toBe(0o755)
    expect(readlinkSync(join(built.folder, 'root/app/data/inner/link'))).toBe('../table.csv')
  })

  it('states ids of key separation and sharing, and asks for them, where the identity has them', async () => {
    sources(home)
    const [family, product] = ['0f'.repeat(16), 'a1'.repeat(16)]
    const identity = { isvProdId: 3, isvSvn: 4, isvFamilyId: family, isvExtProdId: product }
    const built = await build({ definition: { ...DEFINITION, identity } })
    const { sigstruct } = await verifyImage(built.folder, built)
    expect(Buffer.from(sigstruct.isvFamilyId).toString('hex')).toBe(family)
    expect(Buffer.from(sigstruct.isvExtProdId).toString('hex')).toBe(product)
    // KSS is bit 7 of the attributes, MODE64BIT bit 2.
    expect(sigstruct.attributes.flags).toBe(0x84n)
    const plain = await verifyImage((await build({ out: join(home, 'plain') })).folder)
    expect(plain.sigstruct.attributes.flags).toBe(0x04n)
    expect(plain.measurement).not.toBe(built.measurement)
  })

  it('bundles run, keep error names and hold no trace of where they came from', async () => {
    const place = join(home, 'telltale-folder')
    sources(place)
    const { folder } = await build({ baseDir: place })
    const path = join(folder, 'root/app/main.mjs')
    const text = readFileSync(path, 'utf8')
    for (const trace of ['telltale', 'shared.cjs', 'errors.js', 'main.js', 'A comment']) {
      expect(text).not.toContain(trace)
    }
    expect(execFileSync(process.execPath, [path]).toString()).toBe('hello true WrongError\n')
  })

  const why = sandbox ? '' : ' (SKIPPED: no bubblewrap)'
  it.skipIf(!sandbox)(`a program finds its libraries in the image alone${why}`, async () => {
    sources(home)
    const { folder } = await build()
    const flags = ['--unshare-all', '--clearenv', '--ro-bind', join(folder, 'root'), '/']
    const run = (argv: readonly string[]) => spawnSync('bwrap', [...flags, ...argv])
    expect(run(['/usr/bin/true']).status).toBe(0)
    // The check can fail: without its C library the program does not start.
    const copy = join(home, 'copy')
    cpSync(join(folder, 'root'), copy, { recursive: true, verbatimSymlinks: true })
    for (const path of readdirSync(copy, { recursive: true, encoding: 'utf8' })) {
      if (path.includes('libc.so')) rmSync(join(copy, path))
    }
    flags.splice(3, 1, copy)
    expect(run(['/usr/bin/true']).status).not.toBe(0)
  })
})

describe('buildImage refuses', () => {
  const change = (part: Partial<EnclaveDefinition>) => ({ definition: { ...DEFINITION, ...part } })
  const files = (...more: NonNullable<EnclaveDefinition['files']>) =>
    change({ files: [...(DEFINITION.files ?? []), ...more] })
  const main = (text: string) => writeFileSync(join(home, 'src', 'main.js'), text)

  type Case = readonly [string, string, RegExp, () => Partial<BuildImageOptions>]
  const refused: readonly Case[] = [
    ['a file that is not there', 'SOURCE', /nosuch/, () => files({ from: 'nosuch', to: '/x' })],
    [
      'a mode for a folder',
      'SOURCE',
      /mode/,
      () => files({ from: 'data', to: '/x', mode: '0644' }),
    ],
    ['a path twice', 'CONFLICT', /app\/run.sh/, () => files({ from: 'data', to: '/app/run.sh' })],
    [
      'a file below a file',
      'CONFLICT',
      /app\/run.sh/,
      () => files({ from: 'data/run.sh', to: '/app/run.sh/x' }),
    ],
    [
      'a file where the launcher mounts',
      'CONFLICT',
      /mounted/,
      () => files({ from: 'data/run.sh', to: '/proc/x' }),
    ],
    [
      'a command that is not in the image',
      'ENTRY',
      /\/bin\/sh.*nothing/,
      () => change({ entry: { init: ['/usr/bin/true'], program: ['/bin/sh'] } }),
    ],
    [
      'a command that cannot be executed',
      'ENTRY',
      /main.mjs/,
      () => change({ entry: { init: ['/app/main.mjs'], program: ['/usr/bin/true'] } }),
    ],
    [
      'a link that leads out of its folder',
      'SOURCE',
      /leads out/,
      () => {
        symlinkSync('../../src', join(home, 'data', 'inner', 'out'))
        return {}
      },
    ],
    [
      'an absolute link',
      'SOURCE',
      /leads out/,
      () => {
        symlinkSync('/etc/passwd', join(home, 'data', 'passwd'))
        return {}
      },
    ],
    [
      'a pipe',
      'SOURCE',
      /neither/,
      () => {
        execFileSync('mkfifo', [join(home, 'data', 'pipe')])
        return {}
      },
    ],
    [
      'a bundle with a fault',
      'BUNDLE',
      /main.js:1:/,
      () => {
        main('let = =')
        return {}
      },
    ],
    [
      'a bundle that imports what is not there',
      'BUNDLE',
      /nosuch-module/,
      () => {
        main("import 'nosuch-module'")
        return {}
      },
    ],
    [
      'a program whose library is missing',
      'LIBRARY',
      /broken: .*libq\.so\.6/,
      () => {
        const bytes = readFileSync(PROGRAM)
        bytes.write('libq.so.6', bytes.indexOf('libc.so.6'), 'latin1')
        writeFileSync(join(home, 'broken'), bytes)
        chmodSync(join(home, 'broken'), 0o755)
        return files({ from: 'broken', to: '/app/broken', libraries: true })
      },
    ],
    [
      'to build over something',
      'EXISTS',
      /exists/,
      () => {
        mkdirSync(join(home, 'image'))
        return {}
      },
    ],
    ['a place that cannot be', 'WRITE', /./, () => ({ out: join(home, 'data/run.sh/image') })],
  ]
  for (const [what, code, message, prepare] of refused) {
    it(`${what}, and leaves nothing behind`, async () => {
      sources(home)
      const options = prepare()
      const before = readdirSync(home).sort()
      const error = await build(options).catch((caught: unknown) => caught)
      expect(error).toMatchObject({ code, name: 'ImageError' })
      expect(String(error)).toMatch(message)
      expect(readdirSync(home).sort()).toEqual(before)
    })
  }

  it('a key that cannot sign enclaves', async () => {
    sources(home)
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
    await expect(build({ signKey: privateKey })).rejects.toMatchObject({ code: 'KEY' })
    expect(existsSync(join(home, 'image'))).toBe(false)
  })
})
