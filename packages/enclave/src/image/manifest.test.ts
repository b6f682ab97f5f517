import { posix } from 'node:path'
import { canonicalJsonBytes } from '@cloister/sealed'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { codeOf } from '../code-of.test.support.ts'
import {
  encodeManifest,
  entriesRoot,
  type ImageEntry,
  type ImageManifest,
  isImagePath,
  isInnerLink,
  MOUNT_POINTS,
  parseManifest,
} from './manifest.ts'

const folders: readonly ImageEntry[] = [...MOUNT_POINTS, 'app'].map(path => ({
  path,
  type: 'dir',
  mode: '0755',
}))
const file = (path: string): ImageEntry => ({
  path,
  type: 'file',
  mode: '0644',
  size: 3,
  sha256: 'ab'.repeat(32),
  fsVerity: 'cd'.repeat(32),
})

function manifestOf(files: readonly ImageEntry[]): Omit<ImageManifest, 'merkleRoot'> {
  return {
    version: 1,
    name: 'sample',
    entry: {
      ...{ init: ['/app/a'], program: ['/app/a'], arguments: [], others: {} },
      ...{ interface: 'files', signals: [], standardInput: false },
    },
    environment: {},
    environmentFromJob: [],
    network: 'none',
    mounts: {},
    identity: { isvProdId: 0, isvSvn: 0, debug: false },
    resources: { memoryMiB: 64 },
    documents: { origins: 'ab'.repeat(32), sbom: 'ab'.repeat(32) },
    files: [...files],
  }
}

/** A manifest as an attacker with a signing key would write it: consistent, but not ours. */
function written(files: readonly ImageEntry[], more: object = {}): Uint8Array {
  return canonicalJsonBytes({ ...manifestOf(files), merkleRoot: entriesRoot(files), ...more })
}

const sorted = (files: readonly ImageEntry[]) =>
  [...files].sort((a, b) => (a.path < b.path ? -1 : 1))

describe('parseManifest', () => {
  it('reads what encodeManifest writes, entries in order', () => {
    const { bytes } = encodeManifest(manifestOf([file('app/b'), ...folders, file('app/a')]))
    const manifest = parseManifest(bytes)
    expect(manifest.files.slice(0, 3).map(({ path }) => path)).toEqual(['app', 'app/a', 'app/b'])
    expect(encodeManifest(manifestOf(manifest.files)).bytes).toEqual(bytes)
  })

  it('orders by bytes, not by UTF-16 units', () => {
    const paths = ['app/\u{1f600}', 'app/\uff21']
    const { bytes } = encodeManifest(manifestOf([...folders, ...paths.map(file)]))
    const names = parseManifest(bytes).files.map(({ path }) => path)
    expect(names.indexOf('app/\uff21')).toBeLessThan(names.indexOf('app/\u{1f600}'))
  })

  const link = (path: string, target: string): ImageEntry => ({ path, type: 'link', target })
  const refused: readonly (readonly [string, string, () => Uint8Array])[] = [
    ['entries out of order', 'MANIFEST', () => written([...sorted(folders), file('app/a')])],
    ['an entry twice', 'MANIFEST', () => written(sorted([...folders, file('run')]))],
    ['an entry without its folder', 'MANIFEST', () => written(sorted([...folders, file('b/a')]))],
    [
      'an entry below a file',
      'MANIFEST',
      () => written(sorted([...folders, file('x'), file('x/a')])),
    ],
    ['a mount point with content', 'MANIFEST', () => written(sorted([...folders, file('tmp/a')]))],
    ['an image without mount points', 'MANIFEST', () => written(sorted(folders).slice(0, 3))],
    ['a link that climbs out', 'LINK', () => written(sorted([...folders, link('l', '../x')]))],
    ['an absolute link', 'LINK', () => written(sorted([...folders, link('l', '/etc/passwd')]))],
    [
      'a link that climbs after it descended',
      'LINK',
      () => written(sorted([...folders, link('l', 'app/../..')])),
    ],
    ['a field more', 'MANIFEST', () => written(sorted(folders), { extra: 1 })],
    ['another version', 'MANIFEST', () => written(sorted(folders), { version: 2 })],
    ['a network', 'MANIFEST', () => written(sorted(folders), { network: 'host' })],
    ['another root', 'MANIFEST', () => written(sorted(folders), { merkleRoot: '00'.repeat(32) })],
    ['white space', 'MANIFEST', () => Buffer.concat([written(sorted(folders)), Buffer.from('\n')])],
    [
      'a field twice',
      'MANIFEST',
      () =>
        Buffer.from(
          Buffer.from(written(sorted(folders)))
            .toString()
            .replace('{', '{"name":"x",'),
        ),
    ],
    ['bytes that are no UTF-8', 'MANIFEST', () => Uint8Array.of(0xff)],
  ]
  for (const [what, code, bytes] of refused) {
    it(`refuses ${what}`, () => {
      expect(codeOf(() => parseManifest(bytes()))).toBe(code)
    })
  }

  it('gives a manifest or a coded error for any change', () => {
    const bytes = written(sorted([...folders, file('app/a'), link('app/l', 'a')]))
    expect(codeOf(() => parseManifest(bytes))).toBeUndefined()
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.nat(255), (at, value) => {
        const changed = bytes.slice()
        changed[at] = value
        codeOf(() => parseManifest(changed))
      }),
    )
    fc.assert(
      fc.property(fc.json(), json => {
        expect(codeOf(() => parseManifest(Buffer.from(json)))).toBe('MANIFEST')
      }),
    )
  })
})

describe('paths and links', () => {
  it('are below the root, in normal form', () => {
    for (const path of ['a', 'a/b.c', '...', 'ä/..b', 'node_modules/@x/y']) {
      expect(isImagePath(path), path).toBe(true)
    }
    for (const path of ['', '/', '/a', 'a/', 'a//b', '.', '..', 'a/../b', 'a/.', 'a\0', 'a\nb']) {
      expect(isImagePath(path), JSON.stringify(path)).toBe(false)
    }
  })

  it('never lead outside', () => {
    const name = fc.constantFrom('a', 'b', '..', '.', '', '...')
    const path = fc.array(fc.constantFrom('a', 'b'), { minLength: 1, maxLength: 4 })
    fc.assert(
      fc.property(path, fc.array(name, { maxLength: 6 }), (from, to) => {
        const [place, target] = [from.join('/'), to.join('/')]
        if (!isInnerLink(place, target)) return
        const end = posix.normalize(posix.join(posix.dirname(place), target))
        expect(end.startsWith('..') && !end.startsWith('...')).toBe(false)
        const descended = to.findIndex(step => step !== '..')
        expect(descended === -1 || !to.slice(descended).includes('..')).toBe(true)
      }),
    )
    expect(isInnerLink('a/b/c', '../../x')).toBe(true)
    expect(isInnerLink('a/b/c', '../..')).toBe(true)
    expect(isInnerLink('a/b/c', '../../..')).toBe(false)
    expect(isInnerLink('a', 'b/../c')).toBe(false)
    expect(isInnerLink('a', '')).toBe(false)
  })
})
