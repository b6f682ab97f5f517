import { execFileSync, spawnSync } from 'node:child_process'
import { createHash, generateKeyPairSync, type KeyObject } from 'node:crypto'
import {
  appendFileSync,
  chmodSync,
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
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Ajv } from 'ajv'
import addFormats from 'ajv-formats'
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { EnclaveDefinition } from '../definition/schema.ts'
import { PROVENANCE_FILE, SBOM_FILE } from '../documents/file-names.ts'
import type { Artefact, Lock } from '../lock/format.ts'
import { Store } from '../store/store.ts'
import {
  integrityOf,
  makeDeb,
  makeTarball,
  makeWheel,
  stored,
  type TarEntry,
} from '../unpack/packages.test.support.ts'
import { type BuiltImage, buildImage } from './build.ts'
import { diffImages } from './diff.ts'
import { examineImage } from './doctor.ts'
import { explainImage } from './explain.ts'
import { verifyImage } from './verify.ts'

const LIBRARIES = '/usr/lib/x86_64-linux-gnu'
const LOADER = 'ld-linux-x86-64.so.2'
const sandbox = spawnSync('bwrap', ['--version']).status === 0
const compiler = spawnSync('cc', ['--version']).status === 0

let key: KeyObject
let home: string
let store: Store
beforeAll(() => {
  key = generateKeyPairSync('rsa', { modulusLength: 3072, publicExponent: 3 }).privateKey
})
beforeEach(async () => {
  home = mkdtempSync(join(tmpdir(), 'cloister-locked-'))
  store = await Store.open(join(home, 'store'))
  mkdirSync(join(home, 'app'))
  writeFileSync(join(home, 'app', 'main.txt'), 'text')
})
afterEach(() => rmSync(home, { recursive: true, force: true }))

async function deb(name: string, entries: readonly TarEntry[], listed = true): Promise<Artefact> {
  const bytes = await makeDeb({ name, version: '1' }, entries)
  const fields = { kind: 'deb', name, version: '1', architecture: 'amd64', listed } as const
  return await stored<'deb'>(store, bytes, fields)
}

const file = (name: string, content: string | Uint8Array, mode = 0o644): TarEntry => ({
  ...{ name: `./${name}`, content, mode },
})
const link = (name: string, linkname: string): TarEntry => ({
  ...{ name: `./${name}`, type: 'symlink' as const, linkname },
})
const hostFile = (name: string, path: string) => file(name, readFileSync(realpathSync(path)), 0o755)

/** A C library as Debian lays it out: the loader through a link, and more than programs load. */
const libc = () =>
  deb(
    'libc6',
    [
      hostFile('lib/x86_64-linux-gnu/libc.so.6', `${LIBRARIES}/libc.so.6`),
      hostFile(`lib/x86_64-linux-gnu/${LOADER}`, `${LIBRARIES}/${LOADER}`),
      link(`lib64/${LOADER}`, `/lib/x86_64-linux-gnu/${LOADER}`),
      file('lib/x86_64-linux-gnu/never-loaded.so', 'x'),
      file('usr/share/doc/libc6/copyright', 'terms'),
      file('usr/share/doc/libc6/changelog', 'long'),
    ],
    false,
  )
const program = (...more: readonly TarEntry[]) =>
  deb('prog', [hostFile('bin/prog', '/bin/true'), file('usr/share/man/man1/prog.1', 'x'), ...more])

const DEFINITION: EnclaveDefinition = {
  version: 1,
  name: 'sample',
  entry: { init: ['/usr/bin/prog'], program: ['/bin/prog'] },
  files: [{ from: 'app', to: '/app' }],
  debian: { packages: ['prog'] },
  network: 'none',
  identity: { isvProdId: 3, isvSvn: 4 },
  resources: { memoryMiB: 64 },
}

function lockOf(artefacts: readonly Artefact[]): Lock {
  const inputs = { request: '00'.repeat(32), files: {} }
  return { version: 1, architecture: 'amd64', inputs, artefacts: [...artefacts] }
}

const sha256Of = (path: string) => createHash('sha256').update(readFileSync(path)).digest('hex')

let count = 0
async function build(
  artefacts: readonly Artefact[],
  change: Partial<EnclaveDefinition> = {},
): Promise<BuiltImage> {
  count += 1
  return await buildImage({
    definition: { ...DEFINITION, ...change },
    baseDir: home,
    out: join(home, `image${count}`),
    signKey: key,
    packages: { lock: lockOf(artefacts), store },
  })
}

async function refusal(promise: Promise<unknown>): Promise<{ code: string; message: string }> {
  const error = await promise.then(
    () => undefined,
    (caught: unknown) => caught,
  )
  expect(error).toBeInstanceOf(Error)
  expect(readdirSync(home).filter(name => name.includes('image'))).toEqual([])
  return error as Error & { code: string }
}

const inRoot = ({ folder }: BuiltImage, path: string) => join(folder, 'root', path)

describe('an image of locked packages', () => {
  it('holds what the named packages hold, and of others what is loaded', async () => {
    const built = await build([await libc(), await program()])
    const paths = readdirSync(inRoot(built, 'usr'), { recursive: true, encoding: 'utf8' })
    const isFolder = (path: string) => lstatSync(join(inRoot(built, 'usr'), path)).isDirectory()
    expect(paths.filter(path => !isFolder(path)).sort()).toEqual([
      'bin/prog',
      ...[`lib/x86_64-linux-gnu/${LOADER}`, 'lib/x86_64-linux-gnu/libc.so.6'],
      ...[`lib64/${LOADER}`, 'share/doc/libc6/copyright'],
    ])
    expect(readlinkSync(inRoot(built, 'bin'))).toBe('usr/bin')
    expect(readlinkSync(inRoot(built, `usr/lib64/${LOADER}`))).toBe(
      `../lib/x86_64-linux-gnu/${LOADER}`,
    )
    expect(readFileSync(inRoot(built, 'etc/passwd'), 'utf8')).toContain('nobody:x:65534')
    await verifyImage(built.folder, built)
  })

  it('holds everything of every package when it need not be minimal, without what people read', async () => {
    const built = await build([await libc(), await program()], {
      debian: { packages: ['prog'], minimal: false, keep: ['/usr/share/man/**'] },
    })
    expect(existsSync(inRoot(built, 'usr/lib/x86_64-linux-gnu/never-loaded.so'))).toBe(true)
    expect(existsSync(inRoot(built, 'usr/share/doc/libc6/changelog'))).toBe(false)
    expect(existsSync(inRoot(built, 'usr/share/man/man1/prog.1'))).toBe(true)
  })

  it.skipIf(!sandbox)(`runs${sandbox ? '' : ' (SKIPPED: no bubblewrap)'}`, async () => {
    const built = await build([await libc(), await program()])
    const args = ['--unshare-all', '--clearenv', '--ro-bind', inRoot(built, ''), '/', '/bin/prog']
    expect(spawnSync('bwrap', args).status).toBe(0)
  })

  it('is not built without its lock, nor without what the lock names', async () => {
    const options = {
      definition: DEFINITION,
      baseDir: home,
      out: join(home, 'image'),
      signKey: key,
    }
    expect((await refusal(buildImage(options))).code).toBe('LOCK_MISSING')
    const artefact = await program()
    rmSync(store.path(artefact.sha256), { force: true })
    expect((await refusal(build([artefact]))).code).toBe('ARTEFACT_MISSING')
  })

  it('is not built of a store in which a byte was changed', async () => {
    const [one, two] = [await libc(), await program(file('usr/share/data', 'data'))]
    const built = await build([one, two])
    const { manifest } = await verifyImage(built.folder)
    rmSync(built.folder, { recursive: true })
    const data = manifest.files.find(({ path }) => path === 'usr/share/data')
    const path = data?.type === 'file' ? store.path(data.sha256) : ''
    chmodSync(path, 0o644)
    writeFileSync(path, 'dada')
    expect((await refusal(build([one, two]))).code).toBe('ARTEFACT_CHANGED')
  })

  it('is rebuilt from what was unpacked before, of copies that share nothing with the store', async () => {
    const [one, two] = [await libc(), await program()]
    const before = await build([one, two])
    // Were a package unpacked again, it would be missing.
    for (const { sha256 } of [one, two]) rmSync(store.path(sha256), { force: true })
    appendFileSync(join(home, 'app', 'main.txt'), '!')
    const after = await build([one, two])
    const { entries } = await diffImages(before.folder, after.folder)
    expect(entries.map(({ path }) => path)).toEqual(['/app/main.txt'])
    const copied = statSync(inRoot(after, 'usr/bin/prog'))
    expect(copied.nlink).toBe(1)
    writeFileSync(inRoot(after, 'usr/bin/prog'), 'altered')
    expect((await verifyImage(before.folder)).measurement).toBe(before.measurement)
    await expect(build([one, two])).resolves.toMatchObject({ measurement: after.measurement })
  })

  it('names a missing library, who needs it, and of which package', async () => {
    const error = await refusal(build([await program()]))
    expect(error.code).toBe('LIBRARY')
    expect(error.message).toMatch(/libc\.so\.6, needed by \/usr\/bin\/prog \(prog 1\)/)
    const allowed = { missingLibraries: ['libc.so.6', `/lib64/${LOADER}`] }
    await expect(build([await program()], allowed)).resolves.toMatchObject({ fileCount: 6 })
  })

  it('takes no library from this machine', async () => {
    const files = [{ from: '/bin/true', to: '/usr/bin/true', libraries: true }]
    expect((await refusal(build([await libc(), await program()], { files }))).code).toBe('SOURCE')
  })

  it('is not made of two packages that hold different files at one path', async () => {
    const other = await deb('other', [file('usr/bin/prog', 'another', 0o755)])
    const error = await refusal(build([await libc(), await program(), other]))
    expect([error.code, /prog.*other|other.*prog/.test(error.message)]).toEqual(['CONFLICT', true])
  })

  const why = compiler ? '' : ' (SKIPPED: no C compiler)'
  it.skipIf(!compiler)(
    `finds libraries as the loader does: RUNPATH, $ORIGIN, RPATH of those that load${why}`,
    async () => {
      const source = join(home, 'x.c')
      writeFileSync(source, 'int inner(void) { return 7; }\n')
      const cc = (...args: readonly string[]) =>
        execFileSync('cc', [...args], { cwd: home, stdio: 'pipe' })
      cc('-shared', '-fPIC', '-o', 'libinner.so', '-Wl,-soname,libinner.so', 'x.c')
      writeFileSync(source, 'int inner(void);\nint outer(void) { return inner(); }\n')
      cc(
        '-shared',
        '-fPIC',
        '-o',
        'libouter.so',
        '-Wl,-soname,libouter.so',
        'x.c',
        '-L.',
        '-linner',
      )
      writeFileSync(source, 'int outer(void);\nint main(void) { return outer() - 7; }\n')
      const linked = ['x.c', '-L.', '-louter', '-Wl,--allow-shlib-undefined']
      // Old-style RPATH counts for the libraries of libraries too; RUNPATH does not.
      cc('-o', 'old', ...linked, '-Wl,--disable-new-dtags,-rpath,$ORIGIN/../lib/own')
      cc('-o', 'new', ...linked, '-Wl,--enable-new-dtags,-rpath,$ORIGIN/../lib/own')
      const built = (name: string) => readFileSync(join(home, name))
      const own = await deb('own', [
        file('opt/bin/old', built('old'), 0o755),
        file('opt/lib/own/libouter.so', built('libouter.so')),
        file('opt/lib/own/libinner.so', built('libinner.so')),
      ])
      const entry = { init: ['/opt/bin/old'], program: ['/opt/bin/old'] }
      const image = await build([await libc(), own], { entry, debian: { packages: ['own'] } })
      const [why] = await explainImage(image.folder, '/opt/lib/own/libinner.so')
      expect(why?.package?.name).toBe('own')
      if (sandbox) {
        // The loader asks /proc where a program is.
        const root = ['--ro-bind', inRoot(image, ''), '/', '--proc', '/proc']
        const args = ['--unshare-all', '--clearenv', ...root, '/opt/bin/old']
        const { status, stderr } = spawnSync('bwrap', args)
        expect([status, stderr.toString()]).toEqual([0, ''])
      }
      rmSync(image.folder, { recursive: true })
      const parted = [
        ...[
          file('opt/bin/new', built('new'), 0o755),
          file('opt/lib/own/libouter.so', built('libouter.so')),
        ],
        file('opt/lib/other/libinner.so', built('libinner.so').subarray(0, 40)),
      ]
      const entryNew = { init: ['/opt/bin/new'], program: ['/opt/bin/new'] }
      const packages = [await libc(), await deb('own', parted)]
      const error = await refusal(
        build(packages, { entry: entryNew, debian: { packages: ['own'] } }),
      )
      expect(error.message).toMatch(/libinner\.so, needed by \/opt\/lib\/own\/libouter\.so/)
    },
  )
})

describe('what is said of an image', () => {
  it('is why each file is in it', async () => {
    const { folder } = await build([await libc(), await program()])
    const [loaded] = await explainImage(folder, '/usr/lib/x86_64-linux-gnu/libc.so.6')
    expect(loaded).toMatchObject({ rule: 'library', package: { name: 'libc6' } })
    expect(loaded?.neededBy).toContain('/usr/bin/prog')
    expect((await explainImage(folder, '/app/main.txt'))[0]).toMatchObject({ rule: 'files[0]' })
    expect((await explainImage(folder, '/bin'))[0]).toMatchObject({
      rule: 'substitute',
      leadsTo: '/usr/bin',
    })
    await expect(explainImage(folder, '/nosuch')).rejects.toMatchObject({ code: 'ABSENT' })
  })

  it('is believed only as it was measured', async () => {
    const built = await build([await libc(), await program()])
    for (const name of ['origins.json', SBOM_FILE]) {
      const path = join(built.folder, name)
      const before = readFileSync(path)
      appendFileSync(path, ' ')
      await expect(verifyImage(built.folder)).rejects.toMatchObject({ code: 'CHANGED' })
      writeFileSync(path, before)
    }
    appendFileSync(join(built.folder, 'origins.json'), ' ')
    await expect(explainImage(built.folder)).rejects.toMatchObject({ code: 'CHANGED' })
  })

  it('is why two measurements differ: file, package, statement', async () => {
    const [c, p] = [await libc(), await program()]
    const before = await build([c, p])
    expect((await diffImages(before.folder, (await build([c, p])).folder)).same).toBe(true)
    appendFileSync(join(home, 'app', 'main.txt'), '!')
    const other = await deb('extra', [file('usr/share/extra', 'x')])
    const after = await build([c, p, other], {
      environment: { TZ: 'UTC' },
      identity: { isvProdId: 3, isvSvn: 5 },
      entry: { ...DEFINITION.entry, arguments: [{ exact: 'x' }] },
    })
    const difference = await diffImages(before.folder, after.folder)
    expect(difference.fields.map(({ field }) => field)).toEqual([
      'entry.arguments',
      'environment.TZ',
      'identity.isvSvn',
    ])
    expect(difference.packages).toMatchObject([{ kind: 'deb', name: 'extra', before: [] }])
    expect(difference.entries).toEqual([
      { path: '/app/main.txt', change: 'content', from: 'files[0]' },
      { path: '/usr/share/extra', change: 'added', from: 'extra 1' },
    ])
  })

  it('is what it will miss', async () => {
    const whole = await examineImage((await build([await libc(), await program()])).folder)
    expect(whole.map(({ state }) => state)).not.toContain('missing')
    const missingLibraries = ['libc.so.6', `/lib64/${LOADER}`]
    const broken = await examineImage((await build([await program()], { missingLibraries })).folder)
    expect(broken).toContainEqual({
      ...{ what: 'library', state: 'missing' },
      detail: 'libc.so.6 is not in the image; /usr/bin/prog asks for it',
    })
  })

  it('is a bill of materials that CycloneDX validates, and in-toto provenance', async () => {
    const wheel = makeWheel('pkg', '1.0', [{ name: 'pkg/__init__.py', content: '' }])
    const fields = {
      kind: 'wheel',
      name: 'pkg',
      version: '1.0',
      file: 'pkg-1.0-py3-none-any.whl',
    } as const
    const tarball = await makeTarball([
      { name: 'package/package.json', content: '{"name":"@scope/x","version":"2.0.0"}' },
    ])
    const npm = {
      kind: 'npm',
      name: '@scope/x',
      version: '2.0.0',
      path: 'node_modules/@scope/x',
    } as const
    const artefacts = [
      ...[await libc(), await program(), await stored<'wheel'>(store, wheel, fields)],
      await stored<'npm'>(store, tarball, { ...npm, integrity: integrityOf(tarball) }),
    ]
    const built = await build(artefacts, {
      python: { requirements: 'r.txt', bytecode: false },
      npm: { lockfile: 'package-lock.json', to: '/app' },
    })
    const sbom = JSON.parse(readFileSync(join(built.folder, SBOM_FILE), 'utf8')) as {
      readonly components: readonly { readonly name: string; readonly purl?: string }[]
    }
    const require = createRequire(import.meta.url)
    const schemas = require.resolve('@cyclonedx/cyclonedx-library/package.json')
    const schema = (name: string): object =>
      JSON.parse(readFileSync(join(schemas, '../res/schema', name), 'utf8')) as object
    const ajv = new Ajv({ strict: false })
    addFormats.default(ajv)
    ajv.addFormat('iri-reference', true)
    ajv.addFormat('idn-email', true)
    ajv.addSchema(
      schema('spdx.SNAPSHOT.schema.json'),
      'http://cyclonedx.org/schema/spdx.SNAPSHOT.schema.json',
    )
    ajv.addSchema(
      schema('jsf-0.82.SNAPSHOT.schema.json'),
      'http://cyclonedx.org/schema/jsf-0.82.SNAPSHOT.schema.json',
    )
    const validate = ajv.compile(schema('bom-1.6.SNAPSHOT.schema.json'))
    expect([validate(sbom), validate.errors]).toEqual([true, null])
    expect(validate({ ...sbom, bomFormat: 'other' })).toBe(false)
    const names = sbom.components.map(({ name }) => name)
    expect(names).toEqual(
      expect.arrayContaining(['libc6', 'prog', 'pkg', '@scope/x', '/app/main.txt']),
    )
    const provenance = JSON.parse(
      readFileSync(join(built.folder, PROVENANCE_FILE), 'utf8'),
    ) as object
    expect(provenance).toMatchObject({
      _type: 'https://in-toto.io/Statement/v1',
      subject: [{}, { name: 'sample', digest: { sgxMrEnclave: built.measurement } }],
      predicateType: 'https://slsa.dev/provenance/v1',
    })
    expect(existsSync(inRoot(built, 'app/node_modules/@scope/x/package.json'))).toBe(true)
    expect(
      existsSync(inRoot(built, 'usr/local/lib/python3.11/dist-packages/pkg/__init__.py')),
    ).toBe(true)
  })
})

describe('secrets', () => {
  const pem = () =>
    generateKeyPairSync('ec', { namedCurve: 'P-256' })
      .privateKey.export({ format: 'pem', type: 'pkcs8' })
      .toString()

  it('stop a build, with file and rule, and leave nothing behind', async () => {
    writeFileSync(join(home, 'app', '.env'), 'TOKEN=1\n')
    const error = await refusal(build([await libc(), await program()]))
    expect([error.code, /\/app\/\.env \(dotenv/.test(error.message)]).toEqual(['SECRET', true])
  })

  it('are left out by exclude, or allowed by path and content, aloud', async () => {
    const packages = [await libc(), await program()]
    writeFileSync(join(home, 'app', 'test.key'), pem())
    await build(packages, { files: [{ from: 'app', to: '/app', exclude: ['*.key'] }] })
    const digest = sha256Of(join(home, 'app', 'test.key'))
    const allowed = { path: '/app/test.key', sha256: digest, because: 'made for tests' }
    const built = await build(packages, { allowedSecrets: [allowed] })
    expect(built.notices).toEqual([
      { path: '/app/test.key', rule: 'private-key', reason: 'allowed: made for tests' },
    ])
  })

  it('that everybody has with a public package are told, and stop nothing', async () => {
    const snakeoil = await program(file('usr/share/prog/snakeoil.key', pem()))
    const { notices } = await build([await libc(), snakeoil])
    expect(notices).toMatchObject([{ path: '/usr/share/prog/snakeoil.key', rule: 'private-key' }])
    expect(notices[0]?.reason).toMatch(/^public: .* prog 1$/)
  })
})

describe('copy_bom files', () => {
  const bom = (text: string) => writeFileSync(join(home, 'bom.yaml'), text)
  const copyBom = (more: object = {}) => ({ copyBom: [{ file: 'bom.yaml', ...more }] })

  it('copy from the locked packages and from the definition’s folder, as they say', async () => {
    const digest = sha256Of(join(home, 'app/main.txt'))
    mkdirSync(join(home, 'conf'))
    writeFileSync(join(home, 'conf', 'a.ini'), '')
    writeFileSync(join(home, 'conf', 'b.bak'), '')
    writeFileSync(join(home, 'base.yaml'), 'targets: [{target: /srv, mkdirs: [spool]}]\n')
    bom(`includes: [base.yaml]
excludes: ["*.bak"]
targets:
  - target: /opt/app
    mkdirs: [tmp]
    createlinks: [{src: ../app/main.copy, linkname: current}]
    copy:
      - from: app
        files: [{name: main.txt, hash: ${digest.toUpperCase()}, rename: main.copy}]
      - dirs: [conf]
      - from: $WHERE
        files: [prog]
`)
    const built = await build(
      [await libc(), await program()],
      copyBom({ variables: { WHERE: '/bin' } }),
    )
    expect(readdirSync(inRoot(built, 'opt/app')).sort()).toEqual([
      'conf',
      'current',
      'main.copy',
      'prog',
      'tmp',
    ])
    expect(readdirSync(inRoot(built, 'opt/app/conf'))).toEqual(['a.ini'])
    expect(readlinkSync(inRoot(built, 'opt/app/current'))).toBe('main.copy')
    expect(existsSync(inRoot(built, 'srv/spool'))).toBe(true)
    const [origin] = await explainImage(built.folder, '/opt/app/prog')
    expect(origin).toMatchObject({ rule: 'copyBom[0]', package: { name: 'prog' } })
  })

  const refused: readonly (readonly [string, string, string, RegExp])[] = [
    [
      'a file of this machine that no package has',
      'copy: [{files: [/etc/hostname]}]',
      'SOURCE',
      /no locked package/,
    ],
    [
      'a wrong hash',
      `copy: [{from: app, files: [{name: main.txt, hash: ${'A'.repeat(64)}}]}]`,
      'SOURCE',
      /wanted SHA-256/,
    ],
    [
      'a link that leads outside',
      'createlinks: [{src: ../../../../etc, linkname: x}]',
      'SOURCE',
      /outside/,
    ],
    [
      'a name without a value',
      'copy: [{from: $HOME, files: [x]}]',
      'SOURCE',
      /\$HOME has no value/,
    ],
    ['a typo', 'mkdir: [x]', 'UNKNOWN_FIELD', /"mkdirs"\?/],
  ]
  for (const [what, text, code, message] of refused) {
    it(`with ${what} are refused`, async () => {
      bom(`targets:\n  - target: /opt\n    ${text}\n`)
      const error = await refusal(build([await libc(), await program()], copyBom()))
      expect([error.code, message.test(error.message)]).toEqual([code, true])
    })
  }
})
