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
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseDefinition, readDefinition } from '../definition/parse.ts'
import { PLAINTEXT, Scene, World } from '../launcher/world.test.support.ts'
import { findLock, lockPath, readLock, writeLock } from '../lock/file.ts'
import type { Lock } from '../lock/format.ts'
import { lockPackages } from '../lock/lock.ts'
import { Store } from '../store/store.ts'
import { type BuiltImage, buildImage } from './build.ts'

/**
 * Everything here is real: packages come from this machine's registries, once, and are then built
 * twice where there is no network.
 */
const NOBODY = 65_534
const isRoot = process.getuid?.() === 0
const has = (command: string) => spawnSync(command, ['--version']).error === undefined
const maven = has('mvn')
const elsewhere = isRoot && has('faketime') && has('setpriv') && has('unshare')
const sandbox = has('bwrap')

const DEFINITION = `version: 1
name: everything
entry:
  program: [/usr/bin/python3, /app/main.py]
  arguments: [{free: a word}]
files:
  - {from: main.py, to: /app/main.py}
debian:
  packages: [python3-minimal, python3.11-minimal, libpython3.11-minimal, libpython3.11-stdlib]
python: {requirements: requirements.txt}
npm: {lockfile: package-lock.json, to: /app}
${maven ? 'maven: {pom: pom.xml, to: /app/lib}' : ''}
node: true
network: none
identity: {isvProdId: 1, isvSvn: 1}
resources: {SGX_MEM_SIZE: 1GB}
`

const FILES: Readonly<Record<string, string>> = {
  'enclave.yaml': DEFINITION,
  'main.py': 'import six, sys\nprint(six.__version__, six.__cached__, *sys.argv[1:])\n',
  // With the hash that the index has for its wheel: pip demands it.
  'requirements.txt':
    'six==1.16.0 \\\n    --hash=sha256:8abb2f1d86890a2dfb989f9a77cfcfd3e47c2a354b01111771326f8aa26e0254\n',
  'package.json': '{"name":"app","version":"1.0.0","dependencies":{"detect-libc":"2.1.2"}}',
  'pom.xml': `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>x</groupId><artifactId>x</artifactId><version>1</version>
  <dependencies><dependency>
    <groupId>org.slf4j</groupId><artifactId>slf4j-api</artifactId><version>2.0.16</version>
  </dependency></dependencies>
</project>`,
}

let home: string
let project: string
let key: KeyObject
let store: Store
let lock: Lock

beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), 'cloister-reproducible-'))
  chmodSync(home, 0o755)
  project = join(home, 'project')
  mkdirSync(project)
  for (const [name, text] of Object.entries(FILES)) writeFileSync(join(project, name), text)
  const npm = ['install', '--package-lock-only', '--ignore-scripts', '--no-audit', '--no-fund']
  execFileSync('npm', npm, { cwd: project, stdio: 'pipe' })
  key = generateKeyPairSync('rsa', { modulusLength: 3072, publicExponent: 3 }).privateKey
  store = await Store.open(join(home, 'store'))
  const file = join(project, 'enclave.yaml')
  const locked = await lockPackages({ ...(await readDefinition(file)), store })
  lock = locked.lock
  await writeLock(lockPath(file), lock)
}, 300_000)
afterAll(() => rmSync(home, { recursive: true, force: true }))

const SCRIPT = `
  import { createPrivateKey } from 'node:crypto'
  const { folder, base, store: at, key, umask } = JSON.parse(process.argv[1])
  process.umask(umask)
  const { readDefinition } = await import(base + 'definition/parse.js')
  const { lockPath, readLock } = await import(base + 'lock/file.js')
  const { Store } = await import(base + 'store/store.js')
  const { buildImage } = await import(base + 'image/build.js')
  const file = folder + '/enclave.yaml'
  const { definition, baseDir } = await readDefinition(file)
  const packages = { lock: await readLock(lockPath(file), definition, baseDir), store: await Store.open(at) }
  const out = folder + '/image'
  const built = await buildImage({ definition, baseDir, out, signKey: createPrivateKey(key), packages })
  console.log(JSON.stringify(built), new Date().getFullYear())`

interface Elsewhere {
  readonly folder: string
  readonly store: string
  readonly umask: number
  /** Programs that change the world that the build runs in. */
  readonly under: readonly string[]
  readonly environment: Readonly<Record<string, string>>
}

function buildElsewhere(world: Elsewhere): { readonly built: BuiltImage; readonly year: string } {
  const job = JSON.stringify({
    ...{ folder: world.folder, store: world.store, umask: world.umask },
    base: new URL('..', import.meta.url).href,
    key: key.export({ type: 'pkcs8', format: 'pem' }),
  })
  const node = [process.execPath, '--input-type=module', '-e', SCRIPT, job]
  const [command = '', ...args] = [...world.under, ...node]
  const options = { cwd: world.folder, env: { PATH: '/usr/bin:/bin', ...world.environment } }
  const stdout = execFileSync(command, args, options).toString()
  const end = stdout.lastIndexOf('}') + 1
  return { built: JSON.parse(stdout.slice(0, end)) as BuiltImage, year: stdout.slice(end).trim() }
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
      const line = `${inner} ${stats.mode.toString(8)} ${stats.mtimeMs} ${stats.isFile() ? stats.size : ''}`
      return stats.isDirectory() ? [line, ...snapshot(folder, inner)] : [line]
    })
}

function give(path: string, id: number): void {
  for (const name of ['', ...readdirSync(path, { recursive: true, encoding: 'utf8' })]) {
    const full = join(path, name)
    if (!lstatSync(full).isSymbolicLink()) chownSync(full, id, id)
  }
}

describe('a lock', () => {
  it('names every package by digest, and no host', () => {
    const kinds = new Set(lock.artefacts.map(({ kind }) => kind))
    expect([...kinds].sort()).toEqual(['deb', ...(maven ? ['jar'] : []), 'node', 'npm', 'wheel'])
    const text = readFileSync(join(project, 'enclave.lock'), 'utf8')
    expect(text).not.toMatch(/https?:|\.org\/|\.com\//)
    expect(lock.artefacts.find(({ name }) => name === 'six')).toMatchObject({
      ...{ kind: 'wheel', version: '1.16.0', purl: 'pkg:pypi/six@1.16.0' },
      sha256: '8abb2f1d86890a2dfb989f9a77cfcfd3e47c2a354b01111771326f8aa26e0254',
    })
    expect(lock.artefacts.find(({ name }) => name === 'libc6')).toMatchObject({ listed: false })
  })

  it('stays while the same is wanted, and is stale when something else is', async () => {
    const file = join(project, 'enclave.yaml')
    const { definition, baseDir } = await readDefinition(file)
    const previous = await findLock(lockPath(file))
    const again = await lockPackages({ definition, baseDir, store, previous })
    expect([again.kept, again.lock]).toEqual([true, previous])
    const more = { ...definition, debian: { packages: ['bash'] } }
    await expect(readLock(lockPath(file), more, baseDir)).rejects.toMatchObject({
      code: 'LOCK_STALE',
    })
  })

  it('gets back what the store lacks, and nothing else for it', async () => {
    const wheel = lock.artefacts.find(({ kind }) => kind === 'wheel')
    const path = store.path(wheel?.sha256 ?? '')
    rmSync(path, { force: true })
    const definition = await readDefinition(join(project, 'enclave.yaml'))
    const fetched: string[] = []
    const options = {
      ...definition,
      store,
      previous: lock,
      onFetch: (what: string) => fetched.push(what),
    }
    await lockPackages(options)
    expect([fetched, existsSync(path)]).toEqual([['1 packages that the store lacks'], true])
    const forged = { ...wheel, sha256: 'ab'.repeat(32) } as Lock['artefacts'][number]
    const previous = { ...lock, artefacts: [forged] }
    await expect(lockPackages({ ...options, previous })).rejects.toMatchObject({ code: 'TOOL' })
  })

  it('demands the hashes that requirements bear', async () => {
    const other = join(home, 'other')
    cpSync(project, other, { recursive: true })
    const text = FILES['requirements.txt']?.replace('8abb2f1d', '00000000') ?? ''
    writeFileSync(join(other, 'requirements.txt'), text)
    writeFileSync(
      join(other, 'enclave.yaml'),
      DEFINITION.replace(/^(?:npm|maven|node): .*$|^debian:\n.*\n/gm, '').replace(
        'entry:',
        'entry:\n  init: [/x]',
      ),
    )
    const definition = await readDefinition(join(other, 'enclave.yaml'))
    await expect(lockPackages({ ...definition, store })).rejects.toThrow(/HASHES|hash/i)
  })

  it('takes a project that comes as source alone without running any of it', async () => {
    writeFileSync(join(home, 'none.txt'), '')
    const { definition } = await readDefinition(join(project, 'enclave.yaml'))
    const { npm: _n, maven: _m, node: _o, debian: _d, ...rest } = definition
    const sources = { docopt: { version: '0.6.2', folders: { '.': '.' } } }
    const python = { requirements: 'none.txt', sources }
    const bare = { ...rest, entry: { ...rest.entry, init: ['/x'] }, python }
    const { lock: found } = await lockPackages({ definition: bare, baseDir: home, store })
    expect(found.artefacts).toMatchObject([
      {
        ...{ kind: 'sdist', name: 'docopt', version: '0.6.2', file: 'docopt-0.6.2.tar.gz' },
        sha256: '49b3a825280bd66b3aa83585ef59c4a8c82f2c8a522dbe754a8bc8d08c85c491',
      },
    ])
    const absent = { ...python, sources: { docopt: { version: '0.0.0', folders: {} } } }
    const nothing = lockPackages({ definition: { ...bare, python: absent }, baseDir: home, store })
    await expect(nothing).rejects.toMatchObject({ code: 'REQUIREMENTS' })
  })

  it('asks for nothing but projects and versions', async () => {
    for (const line of [
      '-r other.txt',
      '--index-url https://evil.example.org',
      'git+https://x.example.org/a',
      './local',
      'https://x.example.org/a.whl',
      '-e .',
    ]) {
      writeFileSync(join(home, 'requirements.txt'), `six==1.16.0\n${line}\n`)
      const { definition } = await readDefinition(join(project, 'enclave.yaml'))
      const { npm: _n, maven: _m, node: _o, debian: _d, ...rest } = definition
      const bare = { ...rest, entry: { ...rest.entry, init: ['/x'] } }
      const error = await lockPackages({ definition: bare, baseDir: home, store }).catch(
        (e: unknown) => e,
      )
      expect(error).toMatchObject({ code: 'REQUIREMENTS' })
      expect(String(error)).toContain('requirements.txt:2')
    }
  })
})

const why = elsewhere ? '' : ' (SKIPPED: not root, or no faketime, setpriv or unshare)'
describe('two builds', () => {
  it.skipIf(!elsewhere)(
    `without a network, by different users, at different times, under different umasks, in different folders and of different stores are the same to the bit${why}`,
    () => {
      const [one, two] = [join(home, 'one'), join(home, 'a', 'deeper', 'two')]
      for (const folder of [one, two]) cpSync(project, folder, { recursive: true })
      const otherStore = join(home, 'other-store')
      // Only the packages: what the other build unpacks and compiles, it does itself.
      for (const { sha256 } of lock.artefacts) {
        const to = join(otherStore, 'sha256', sha256.slice(0, 2), sha256.slice(2))
        if (!existsSync(to)) cpSync(store.path(sha256), to)
      }
      for (const folder of [join(home, 'a'), join(home, 'a', 'deeper')]) chmodSync(folder, 0o755)
      for (const folder of [two, otherStore]) give(folder, NOBODY)
      const noNetwork = ['unshare', '--net', '--']
      const first = buildElsewhere({
        ...{ folder: one, store: store.folder, umask: 0o022, under: noNetwork },
        environment: { HOME: home, TZ: 'UTC' },
      })
      const asNobody = ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups', '--']
      const second = buildElsewhere({
        ...{ folder: two, store: otherStore, umask: 0o077 },
        under: [...noNetwork, ...asNobody, 'faketime', '-f', '@2031-02-03 04:05:06'],
        environment: {
          ...{
            HOME: '/nonexistent',
            TZ: 'Asia/Shanghai',
            LANG: 'C',
            FAKETIME_DONT_FAKE_MONOTONIC: '1',
          },
          ...{ PYTHONHASHSEED: '7', SOURCE_DATE_EPOCH: '1' },
        },
      })
      expect(second.year).toBe('2031')
      expect(first.year).not.toBe('2031')
      expect(second.built.measurement).toBe(first.built.measurement)
      expect(snapshot(second.built.folder)).toEqual(snapshot(first.built.folder))
      for (const name of [
        'manifest.json',
        'sbom.cdx.json',
        'origins.json',
        'provenance.intoto.json',
        'sigstruct.bin',
      ]) {
        const [a, b] = [first, second].map(({ built }) => readFileSync(join(built.folder, name)))
        expect([name, Buffer.compare(a ?? Buffer.of(1), b ?? Buffer.of(2))]).toEqual([name, 0])
      }
    },
    300_000,
  )

  it.skipIf(!elsewhere || !sandbox)(
    'make an image whose program finds all that it needs, bytecode too',
    () => {
      const root = [
        '--ro-bind',
        join(home, 'one/image/root'),
        '/',
        '--proc',
        '/proc',
        '--dev',
        '/dev',
      ]
      const run = (argv: readonly string[]) =>
        execFileSync('bwrap', ['--unshare-all', '--clearenv', ...root, ...argv]).toString()
      expect(run(['/usr/bin/python3', '/app/main.py', 'word'])).toBe(
        '1.16.0 /usr/local/lib/python3.11/dist-packages/__pycache__/six.cpython-311.pyc word\n',
      )
      const script = 'console.log(require("/app/node_modules/detect-libc").GLIBC, process.version)'
      expect(run(['/usr/bin/node', '-e', script])).toMatch(/^glibc v20\./)
      if (maven)
        expect(existsSync(join(home, 'one/image/root/app/lib/slf4j-api-2.0.16.jar'))).toBe(true)
    },
  )
})

describe('an image that brings no init and no Node of its own', () => {
  it('attests, gets keys and runs its program', async () => {
    const modules = new URL('..', import.meta.url)
    const definition = parseDefinition(`version: 1
name: locked
entry:
  program: [/usr/bin/node, /app/program.mjs]
  interface: messages
  arguments: [{free: what to do, repeated: true}]
bundles: [{entry: launcher/program.test.support.js, to: /app/program.mjs}]
node: true
network: none
identity: {isvProdId: 7, isvSvn: 3}
resources: {memoryMiB: 256}
`)
    const baseDir = fileURLToPath(modules)
    const packages = { lock: (await lockPackages({ definition, baseDir, store })).lock, store }
    const world = await World.start({
      buildImage: out => buildImage({ definition, baseDir, out, signKey: key, packages }),
    })
    try {
      const scene = await Scene.make(world)
      expect(await scene.launch()).toMatchObject({ outcome: 'completed' })
      expect(await scene.result()).toBe(PLAINTEXT.toUpperCase())
    } finally {
      await world.stop()
    }
  }, 300_000)
})
