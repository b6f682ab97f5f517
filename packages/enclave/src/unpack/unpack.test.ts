import { execFileSync } from 'node:child_process'
import {
  appendFileSync,
  chmodSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Tree } from '../archive/tree.ts'
import { LockError } from '../lock/errors.ts'
import { Store } from '../store/store.ts'
import {
  integrityOf,
  makeDeb,
  makeTarball,
  makeWheel,
  stored,
  type TarEntry,
  type ZipEntry,
} from './packages.test.support.ts'
import { unpacked } from './unpack.ts'

let home: string
let store: Store
beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), 'cloister-unpack-'))
  store = await Store.open(join(home, 'store'))
})
afterAll(() => rmSync(home, { recursive: true, force: true }))

async function deb(entries: readonly TarEntry[], name = 'sample'): Promise<Tree> {
  const bytes = await makeDeb({ name, version: '1.0-1' }, entries)
  const fields = { kind: 'deb', name: 'sample', version: '1.0-1' } as const
  return await unpacked(
    await stored<'deb'>(store, bytes, { ...fields, architecture: 'amd64', listed: true }),
    store,
  )
}

async function npm(entries: readonly TarEntry[]): Promise<Tree> {
  const bytes = await makeTarball([
    { name: 'package/package.json', content: '{"name":"sample","version":"1.0.0"}' },
    ...entries,
  ])
  const fields = { kind: 'npm', name: 'sample', version: '1.0.0' } as const
  const path = 'node_modules/sample'
  return await unpacked(
    await stored<'npm'>(store, bytes, { ...fields, path, integrity: integrityOf(bytes) }),
    store,
  )
}

async function wheel(
  files: readonly ZipEntry[],
  record?: (rows: readonly string[]) => readonly string[],
  project = 'sample',
): Promise<Tree> {
  const bytes = makeWheel(project, '1.0', files, record)
  const file = 'sample-1.0-py3-none-any.whl'
  const fields = { kind: 'wheel', name: 'sample', version: '1.0', file } as const
  return await unpacked(await stored<'wheel'>(store, bytes, fields), store)
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => undefined,
    (caught: unknown) => caught,
  )
  expect(error).toBeInstanceOf(LockError)
  return (error as LockError).code
}

const pathsOf = ({ entries }: Tree) => entries.map(({ path }) => path)

describe('a Debian package', () => {
  it('is unpacked as on a system whose /usr is merged', async () => {
    const tree = await deb([
      { name: './', type: 'directory' },
      { name: './lib/', type: 'directory' },
      { name: './lib/libx.so.1.2', content: 'elf' },
      { name: './lib/libx.so.1', type: 'symlink', linkname: 'libx.so.1.2' },
      { name: './usr/bin/x', type: 'symlink', linkname: '/lib/libx.so.1.2' },
      { name: './bin/run', content: '#!/bin/sh\n', mode: 0o755 },
      { name: './bin/again', type: 'link', linkname: './bin/run' },
    ])
    expect(pathsOf(tree)).toEqual([
      ...['usr/bin/again', 'usr/bin/run', 'usr/bin/x'],
      ...['usr/lib', 'usr/lib/libx.so.1', 'usr/lib/libx.so.1.2'],
    ])
    expect(tree.entries.find(({ path }) => path === 'usr/bin/x')).toMatchObject({
      target: '../lib/libx.so.1.2',
    })
    expect(tree.entries.find(({ path }) => path === 'usr/bin/again')).toMatchObject({
      mode: '0755',
    })
  })

  it('loses set-user-id bits, which is told', async () => {
    const tree = await deb([{ name: './bin/su', content: 'x', mode: 0o4755 }])
    expect(tree.entries[0]).toMatchObject({ path: 'usr/bin/su', mode: '0755' })
    expect(tree.notices).toEqual([expect.stringMatching(/^usr\/bin\/su: set-user-id/)])
  })

  type Case = readonly [string, readonly TarEntry[]]
  const hostile: readonly Case[] = [
    ['a path that climbs', [{ name: './../evil', content: 'x' }]],
    ['a path that climbs after a descent', [{ name: './usr/../../evil', content: 'x' }]],
    ['an absolute path', [{ name: '/etc/passwd', content: 'x' }]],
    ['a link that leads outside', [{ name: './x', type: 'symlink', linkname: '../../etc/passwd' }]],
    ['a hard link to what is not there', [{ name: './x', type: 'link', linkname: './etc/shadow' }]],
    ['a hard link that climbs', [{ name: './x', type: 'link', linkname: '../../etc/shadow' }]],
    ['a device', [{ name: './dev/sda', type: 'block-device', devmajor: 8 }]],
    ['a pipe', [{ name: './run/pipe', type: 'fifo' }]],
    [
      'a path twice',
      [
        { name: './x', content: 'a' },
        { name: './x', content: 'b' },
      ],
    ],
    ['a control character in a name', [{ name: './a\u0007b', content: 'x' }]],
    ['a name that is not in Unicode normal form C', [{ name: './e\u0301', content: 'x' }]],
  ]
  for (const [what, entries] of hostile) {
    it(`with ${what} is refused`, async () => {
      expect(await codeOf(deb(entries))).toBe('ARCHIVE')
    })
  }

  it('that is another than the lock says is refused', async () => {
    expect(await codeOf(deb([{ name: './x', content: 'x' }], 'other'))).toBe('ARTEFACT_IDENTITY')
  })

  it('that is no package is refused', async () => {
    const fields = { kind: 'deb', name: 'sample', version: '1' } as const
    const artefact = await stored<'deb'>(store, Buffer.from('not a package'), {
      ...{ ...fields, architecture: 'amd64', listed: true },
    })
    expect(await codeOf(unpacked(artefact, store))).toBe('TOOL')
  })

  it('reads the same as dpkg-deb -x unpacks it', async () => {
    const bytes = await makeDeb({ name: 'sample', version: '2' }, [
      { name: './usr/share/a', content: 'alpha' },
      { name: './usr/share/b', type: 'symlink', linkname: 'a' },
    ])
    const file = join(home, 'x.deb')
    writeFileSync(file, bytes)
    execFileSync('dpkg-deb', ['-x', file, join(home, 'x')])
    expect(readFileSync(join(home, 'x/usr/share/b'), 'utf8')).toBe('alpha')
  })
})

describe('an npm package', () => {
  it('is unpacked below its top folder, without links', async () => {
    const tree = await npm([
      { name: 'package/index.js', content: '1' },
      { name: 'package/bin/x', content: '#!', mode: 0o755 },
      { name: 'package/out', type: 'symlink', linkname: '/etc/passwd' },
    ])
    expect(pathsOf(tree)).toEqual(['bin/x', 'index.js', 'package.json'])
    expect(tree.notices).toHaveLength(1)
  })

  it('with a path that climbs is refused', async () => {
    expect(await codeOf(npm([{ name: 'package/../../evil', content: 'x' }]))).toBe('ARCHIVE')
  })

  it('that unpacks to far more than it is packed is refused', async () => {
    const zeros = Buffer.alloc(300 * 1024 * 1024)
    expect(await codeOf(npm([{ name: 'package/zeros', content: zeros }]))).toBe('ARCHIVE')
  })

  it('that says another name is refused', async () => {
    const bytes = await makeTarball([
      { name: 'package/package.json', content: '{"name":"evil","version":"1.0.0"}' },
    ])
    const artefact = await stored<'npm'>(store, bytes, {
      ...({ kind: 'npm', name: 'sample', version: '1.0.0' } as const),
      ...{ path: 'node_modules/sample', integrity: integrityOf(bytes) },
    })
    expect(await codeOf(unpacked(artefact, store))).toBe('ARTEFACT_IDENTITY')
  })
})

describe('a wheel', () => {
  it('is unpacked as an installer would', async () => {
    const tree = await wheel([
      { name: 'sample/__init__.py', content: 'x = 1\n' },
      { name: 'sample-1.0.data/scripts/run', content: '#!python\nprint(1)\n', mode: 0o100755 },
      { name: 'sample-1.0.data/headers/x.h', content: '' },
      { name: 'sample-1.0.data/purelib/other.py', content: '' },
      {
        name: 'sample-1.0.dist-info/entry_points.txt',
        content: '[console_scripts]\nsample = sample.cli:main\n',
      },
    ])
    const files = pathsOf(tree).filter(path => !path.startsWith('raw/'))
    expect(files).toEqual([
      ...['bin/run', 'bin/sample', 'site/other.py'],
      ...['METADATA', 'RECORD', 'WHEEL', 'entry_points.txt'].map(
        name => `site/sample-1.0.dist-info/${name}`,
      ),
      'site/sample/__init__.py',
    ])
    const script = tree.entries.find(({ path }) => path === 'bin/run')
    const bytes = script?.type === 'file' ? await store.read(script.sha256) : new Uint8Array()
    expect(Buffer.from(bytes).toString()).toBe('#!/usr/bin/python3\nprint(1)\n')
  })

  const good: ZipEntry = { name: 'sample/a.py', content: 'a' }
  type Case = readonly [
    string,
    readonly ZipEntry[],
    ((rows: readonly string[]) => readonly string[])?,
  ]
  const hostile: readonly Case[] = [
    ['a path that climbs', [{ name: '../evil.py', content: 'x' }]],
    ['a path that climbs after a descent', [{ name: 'a/../../evil.py', content: 'x' }]],
    ['an absolute path', [{ name: '/evil.py', content: 'x' }]],
    ['a backslash in a path', [{ name: 'a\\..\\evil.py', content: 'x' }]],
    ['a path twice', [good, good]],
    ['a symbolic link', [{ name: 'link', content: '/etc/passwd', mode: 0o120777 }]],
    ['an entry that lies about its size', [{ ...good, claimedSize: 7 }]],
    ['a file that RECORD does not name', [good], rows => rows.slice(1)],
    ['a file that RECORD has otherwise', [good], rows => rows.map(row => row.replace(/=./, '=_'))],
    [
      'a file that RECORD has without a hash',
      [good],
      rows => rows.map(row => row.replace(/,s.*,/, ',,')),
    ],
    ['a file in RECORD that is not there', [good], rows => [...rows, 'gone.py,sha256=AAAA,1']],
  ]
  for (const [what, files, record] of hostile) {
    it(`with ${what} is refused`, async () => {
      expect(await codeOf(wheel(files, record))).toBe('ARCHIVE')
    })
  }

  it('of another project is refused', async () => {
    expect(await codeOf(wheel([good], undefined, 'other'))).toBe('ARTEFACT_IDENTITY')
  })

  it('cut anywhere, or with any byte changed, is refused or gives the same files', async () => {
    const whole = makeWheel('sample', '1.0', [good])
    const file = 'sample-1.0-py3-none-any.whl'
    const fields = { kind: 'wheel', name: 'sample', version: '1.0', file } as const
    const wanted = await unpacked(await stored<'wheel'>(store, whole, fields), store)
    const contents = (tree: Tree) =>
      // RECORD records all but itself.
      tree.entries
        .filter(({ path }) => !path.endsWith('/RECORD'))
        .map(entry => (entry.type === 'file' ? `${entry.path} ${entry.sha256}` : ''))
    const change = fc.oneof(
      fc.nat(whole.length - 1).map(at => whole.subarray(0, at)),
      fc.tuple(fc.nat(whole.length - 1), fc.integer({ min: 1, max: 255 })).map(([at, xor]) => {
        const changed = Buffer.from(whole)
        changed[at] = (changed[at] ?? 0) ^ xor
        return changed
      }),
    )
    await fc.assert(
      fc.asyncProperty(change, async bytes => {
        if (bytes.length === 0) return
        const artefact = await stored<'wheel'>(store, bytes, fields)
        const tree = await unpacked(artefact, store).catch((error: unknown) => {
          expect(error).toBeInstanceOf(LockError)
          return undefined
        })
        if (tree !== undefined) expect(contents(tree)).toEqual(contents(wanted))
      }),
      { numRuns: 150 },
    )
  })
})

describe('the store', () => {
  it('gives out nothing that was altered in it', async () => {
    const { sha256 } = await store.put([Buffer.from('what was put')])
    const path = store.path(sha256)
    chmodSync(path, 0o644)
    appendFileSync(path, '!')
    expect(await codeOf(store.read(sha256))).toBe('ARTEFACT_CHANGED')
    expect(await codeOf(store.verify(sha256))).toBe('ARTEFACT_CHANGED')
  })

  it('finds out when what was unpacked before was altered', async () => {
    const bytes = await makeDeb({ name: 'sample', version: '3' }, [{ name: './x', content: 'x' }])
    const artefact = await stored<'deb'>(store, bytes, {
      ...({ kind: 'deb', name: 'sample', version: '3' } as const),
      ...{ architecture: 'amd64', listed: true },
    })
    await unpacked(artefact, store)
    const name = `tree-1-deb-${artefact.sha256}-sample-3`
    const list = readFileSync(join(store.folder, 'derived', name), 'utf8')
    chmodSync(store.path(list), 0o644)
    appendFileSync(store.path(list), ' ')
    expect(await codeOf(unpacked(artefact, store))).toBe('ARTEFACT_CHANGED')
  })

  it('keeps a file once, whole, readable to all and writable to none', async () => {
    const large = Buffer.alloc(6_000_000, 7)
    const [one, two] = await Promise.all([store.put([large]), store.put([large])])
    expect(one).toEqual(two)
    expect(Buffer.compare(await store.read(one.sha256), large)).toBe(0)
    await expect(store.put(failing())).rejects.toThrow('broken off')
    const { stdout } = { stdout: execFileSync('find', [join(store.folder, 'tmp'), '-type', 'f']) }
    expect(stdout.toString()).toBe('')
  })
})

function* failing(): Generator<Uint8Array> {
  yield Buffer.alloc(5_000_000)
  throw new Error('broken off')
}
