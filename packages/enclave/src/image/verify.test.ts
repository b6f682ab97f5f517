import { execFileSync } from 'node:child_process'
import { createHash, generateKeyPairSync, type KeyObject } from 'node:crypto'
import {
  appendFileSync,
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { canonicalJsonBytes } from '@cloister/sealed'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { measureSgxs } from '../measurement/measure.ts'
import { signSigstruct } from '../sigstruct/sign.ts'
import { type BuiltImage, buildImage } from './build.ts'
import { ImageError, type ImageErrorCode } from './errors.ts'
import { loadImage } from './load.ts'
import { encodeManifest, entriesRoot, type ImageManifest, parseManifest } from './manifest.ts'
import { imageSgxs, imageSigstruct } from './pages.ts'
import { openImage, verifyImage } from './verify.ts'

let home: string
let key: KeyObject
let otherKey: KeyObject
let built: BuiltImage
let count = 0

function newKey(): KeyObject {
  return generateKeyPairSync('rsa', { modulusLength: 3072, publicExponent: 3 }).privateKey
}

beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), 'cloister-verify-'))
  key = newKey()
  otherKey = newKey()
  const data = join(home, 'data')
  mkdirSync(join(data, 'inner'), { recursive: true })
  writeFileSync(join(data, 'a.bin'), 'aaaa')
  writeFileSync(join(data, 'b.bin'), 'bbbb')
  writeFileSync(join(data, 'inner', 'large.bin'), new Uint8Array(3_000_001).fill(7))
  symlinkSync('a.bin', join(data, 'link'))
  writeFileSync(join(home, 'run'), '#!/bin/sh\n', { mode: 0o755 })
  built = await buildImage({
    definition: {
      version: 1,
      name: 'sample',
      entry: { init: ['/app/run'], program: ['/app/run'] },
      files: [
        { from: 'data', to: '/app/data' },
        { from: 'run', to: '/app/run' },
      ],
      network: 'none',
      identity: { isvProdId: 1, isvSvn: 1 },
      resources: { memoryMiB: 64 },
    },
    baseDir: home,
    out: join(home, 'image'),
    signKey: key,
  })
})

afterAll(() => rmSync(home, { recursive: true, force: true }))

function copy(): string {
  count += 1
  const folder = join(home, `copy${count}`)
  cpSync(built.folder, folder, {
    recursive: true,
    verbatimSymlinks: true,
    preserveTimestamps: true,
  })
  return folder
}

async function refusal(promise: Promise<unknown>): Promise<ImageError> {
  const error = await promise.then(
    () => undefined,
    (caught: unknown) => caught,
  )
  expect(error).toBeInstanceOf(ImageError)
  return error as ImageError
}

const manifestOf = (folder: string) => parseManifest(readFileSync(join(folder, 'manifest.json')))

/** Writes manifest and stream anew, as anyone can; signs too where there is a key. */
function rehash(folder: string, bytes: Uint8Array, manifest: ImageManifest, signKey?: KeyObject) {
  const sgxs = imageSgxs(bytes, manifest)
  const { mrEnclave } = measureSgxs(sgxs)
  writeFileSync(join(folder, 'manifest.json'), bytes)
  writeFileSync(join(folder, 'image.sgxs'), sgxs)
  if (signKey === undefined) return
  const sigstruct = signSigstruct(imageSigstruct(manifest, mrEnclave), signKey)
  writeFileSync(join(folder, 'sigstruct.bin'), sigstruct)
}

/** An image whose program was replaced, with a manifest that agrees. */
function replaced(signKey?: KeyObject): string {
  const folder = copy()
  const { merkleRoot: _, ...manifest } = manifestOf(folder)
  const path = join(folder, 'root/app/run')
  writeFileSync(path, '#!/bin/ls\n')
  const sha256 = createHash('sha256').update(readFileSync(path)).digest('hex')
  const files = manifest.files.map(entry =>
    entry.type === 'file' && entry.path === 'app/run' ? { ...entry, sha256 } : entry,
  )
  const { bytes } = encodeManifest({ ...manifest, files })
  rehash(folder, bytes, parseManifest(bytes), signKey)
  return folder
}

describe('verifyImage', () => {
  it('accepts what was built, and a copy of it', async () => {
    const image = await verifyImage(built.folder, built)
    expect(image.measurement).toBe(built.measurement)
    expect(image.mrSigner).toBe(built.mrSigner)
    expect((await verifyImage(copy())).measurement).toBe(built.measurement)
  })

  type Attack = (root: string, folder: string) => void
  const attacks: readonly (readonly [string, ImageErrorCode, string, Attack])[] = [
    [
      'a changed byte',
      'CHANGED',
      'root/app/data/inner/large.bin',
      root => {
        const bytes = readFileSync(join(root, 'app/data/inner/large.bin'))
        bytes[1_500_000] = 8
        writeFileSync(join(root, 'app/data/inner/large.bin'), bytes)
      },
    ],
    [
      'a byte more',
      'CHANGED',
      'root/app/data/a.bin',
      root => appendFileSync(join(root, 'app/data/a.bin'), 'a'),
    ],
    [
      'a byte less',
      'CHANGED',
      'root/app/data/a.bin',
      root => truncateSync(join(root, 'app/data/a.bin'), 3),
    ],
    [
      'two files swapped',
      'CHANGED',
      'root/app/data/a.bin',
      root => {
        renameSync(join(root, 'app/data/a.bin'), join(root, 'app/data/c'))
        renameSync(join(root, 'app/data/b.bin'), join(root, 'app/data/a.bin'))
        renameSync(join(root, 'app/data/c'), join(root, 'app/data/b.bin'))
      },
    ],
    [
      'an added file',
      'ADDED',
      'root/app/data/inner/new',
      root => writeFileSync(join(root, 'app/data/inner/new'), ''),
    ],
    ['an added folder', 'ADDED', 'root/etc', root => mkdirSync(join(root, 'etc'))],
    ['an added link', 'ADDED', 'root/app/x', root => symlinkSync('run', join(root, 'app/x'))],
    [
      'a file in a mount point',
      'ADDED',
      'root/tmp/x',
      root => writeFileSync(join(root, 'tmp/x'), ''),
    ],
    [
      'a file whose name is no UTF-8',
      'ADDED',
      'root/app/\ufffd',
      root => writeFileSync(Buffer.concat([Buffer.from(`${root}/app/`), Buffer.of(0xff)]), ''),
    ],
    [
      'a file beside the tree',
      'ADDED',
      'notes',
      (_root, folder) => writeFileSync(join(folder, 'notes'), ''),
    ],
    ['a missing file', 'MISSING', 'root/app/run', root => unlinkSync(join(root, 'app/run'))],
    [
      'a missing folder',
      'MISSING',
      'root/app/data/inner',
      root => rmSync(join(root, 'app/data/inner'), { recursive: true }),
    ],
    [
      'a missing mount point',
      'MISSING',
      'root/job',
      root => rmSync(join(root, 'job'), { recursive: true }),
    ],
    [
      'a file made executable',
      'MODE',
      'root/app/data/a.bin',
      root => chmodSync(join(root, 'app/data/a.bin'), 0o755),
    ],
    [
      'a file that others may write',
      'MODE',
      'root/app/run',
      root => chmodSync(join(root, 'app/run'), 0o757),
    ],
    ['a set-user-id bit', 'MODE', 'root/app/run', root => chmodSync(join(root, 'app/run'), 0o4755)],
    [
      'a folder that others may write',
      'MODE',
      'root/app',
      root => chmodSync(join(root, 'app'), 0o777),
    ],
    ['a root that others may write', 'MODE', 'root', root => chmodSync(root, 0o777)],
    [
      'a link in place of a file',
      'TYPE',
      'root/app/run',
      root => {
        renameSync(join(root, 'app/run'), join(home, `moved${count}`))
        symlinkSync(join(home, `moved${count}`), join(root, 'app/run'))
      },
    ],
    [
      'a link in place of a folder',
      'TYPE',
      'root/app/data/inner',
      root => {
        renameSync(join(root, 'app/data/inner'), join(home, `moved${count}`))
        symlinkSync(join(home, `moved${count}`), join(root, 'app/data/inner'))
      },
    ],
    [
      'a link in place of the root',
      'TYPE',
      'root',
      root => {
        renameSync(root, join(home, `moved${count}`))
        symlinkSync(join(home, `moved${count}`), root)
      },
    ],
    [
      'a pipe in place of a file',
      'TYPE',
      'root/app/run',
      root => {
        unlinkSync(join(root, 'app/run'))
        execFileSync('mkfifo', ['-m', '755', join(root, 'app/run')])
      },
    ],
    [
      'a file in place of a link',
      'TYPE',
      'root/app/data/link',
      root => {
        unlinkSync(join(root, 'app/data/link'))
        writeFileSync(join(root, 'app/data/link'), 'aaaa')
      },
    ],
    [
      'a link that leads elsewhere',
      'LINK',
      'root/app/data/link',
      root => {
        unlinkSync(join(root, 'app/data/link'))
        symlinkSync('b.bin', join(root, 'app/data/link'))
      },
    ],
    [
      'a link that leads outside',
      'LINK',
      'root/app/data/link',
      root => {
        unlinkSync(join(root, 'app/data/link'))
        symlinkSync('/etc/passwd', join(root, 'app/data/link'))
      },
    ],
  ]
  for (const [what, code, path, attack] of attacks) {
    it(`refuses ${what}`, async () => {
      const folder = copy()
      attack(join(folder, 'root'), folder)
      const error = await refusal(verifyImage(folder))
      expect(error.code).toBe(code)
      expect(error.problems.map(problem => problem.path)).toContain(path)
      expect(error.message).toContain(path)
    })
  }

  it('names everything that is wrong', async () => {
    const folder = copy()
    writeFileSync(join(folder, 'root/app/new'), '')
    unlinkSync(join(folder, 'root/app/data/b.bin'))
    writeFileSync(join(folder, 'root/app/data/a.bin'), 'aaab')
    const { problems } = await refusal(verifyImage(folder))
    expect(problems.map(({ code }) => code).sort()).toEqual(['ADDED', 'CHANGED', 'MISSING'])
  })
})

describe('loadImage', () => {
  it('copies the tree that was measured, and nothing else', async () => {
    const folder = copy()
    writeFileSync(join(folder, 'root/app/new'), '')
    chmodSync(join(folder, 'root/app/data/a.bin'), 0o777)
    const target = join(folder, 'loaded')
    const image = await loadImage(folder, target, built)
    expect(image.root).toBe(target)
    // The copy stands the full comparison in place of the tree.
    rmSync(join(folder, 'root'), { recursive: true })
    renameSync(target, join(folder, 'root'))
    expect((await verifyImage(folder, built)).measurement).toBe(built.measurement)
  })

  it('refuses changed and missing files, and takes the copy away', async () => {
    const folder = copy()
    writeFileSync(join(folder, 'root/app/data/a.bin'), 'aaab')
    truncateSync(join(folder, 'root/app/run'), 1)
    unlinkSync(join(folder, 'root/app/data/b.bin'))
    symlinkSync('a.bin', join(folder, 'root/app/data/b.bin'))
    const target = join(home, 'loaded')
    const { problems } = await refusal(loadImage(folder, target))
    expect(problems.map(({ code }) => code).sort()).toEqual(['CHANGED', 'CHANGED', 'MISSING'])
    expect(existsSync(target)).toBe(false)
  })

  it('refuses another image, and a target that is there', async () => {
    const target = join(home, 'loaded')
    const { mrSigner } = built
    expect((await refusal(loadImage(replaced(otherKey), target, { mrSigner }))).code).toBe('SIGNER')
    expect(existsSync(target)).toBe(false)
    expect((await refusal(loadImage(built.folder, home))).code).toBe('EXISTS')
  })
})

describe('openImage', () => {
  it('refuses a manifest that was changed and hashed again without the key', async () => {
    const error = await refusal(openImage(replaced()))
    expect(error.code).toBe('MEASUREMENT')
    expect(error.message).toContain(built.measurement)
  })

  it('refuses a manifest that was changed alone', async () => {
    const folder = copy()
    const text = readFileSync(join(folder, 'manifest.json'), 'utf8')
    writeFileSync(join(folder, 'manifest.json'), text.replace('"sample"', '"simple"'))
    const error = await refusal(openImage(folder))
    expect(error).toMatchObject({ code: 'MEASUREMENT', problems: [{ path: 'manifest.json' }] })
  })

  it('refuses an image that another key signed', async () => {
    const folder = replaced(otherKey)
    // It agrees with itself, and is another image.
    expect((await verifyImage(folder)).measurement).not.toBe(built.measurement)
    const { mrSigner, measurement } = built
    expect((await refusal(openImage(folder, { mrSigner }))).code).toBe('SIGNER')
    expect((await refusal(openImage(folder, { measurement }))).code).toBe('MEASUREMENT')
  })

  it('refuses the SIGSTRUCT of another image of the same signer', async () => {
    const folder = copy()
    cpSync(join(replaced(key), 'sigstruct.bin'), join(folder, 'sigstruct.bin'))
    expect((await refusal(openImage(folder))).code).toBe('MEASUREMENT')
  })

  it('refuses a SIGSTRUCT that says something else than the manifest', async () => {
    const fields = imageSigstruct(manifestOf(built.folder), Buffer.from(built.measurement, 'hex'))
    const { attributes, attributesMask } = fields
    const lies = [
      { isvSvn: 2 },
      { isvProdId: 2 },
      { attributes: { ...attributes, flags: attributes.flags | 2n } },
      { attributesMask: { ...attributesMask, flags: attributesMask.flags & ~2n } },
      { debugSigned: true },
      { isvExtProdId: new Uint8Array(16).fill(1) },
    ]
    for (const lie of lies) {
      const folder = copy()
      writeFileSync(join(folder, 'sigstruct.bin'), signSigstruct({ ...fields, ...lie }, key))
      expect((await refusal(openImage(folder))).code).toBe('IDENTITY')
    }
  })

  it('refuses malformed manifests even when they are signed', async () => {
    const manifest = manifestOf(built.folder)
    const linked = manifest.files.map(entry =>
      entry.type === 'link' ? { ...entry, target: '../../../etc' } : entry,
    )
    const cases: readonly (readonly [string, object])[] = [
      ['LINK', { ...manifest, files: linked, merkleRoot: entriesRoot(linked) }],
      ['MANIFEST', { ...manifest, files: [...manifest.files].reverse() }],
      ['MANIFEST', { ...manifest, network: 'host' }],
      ['MANIFEST', { ...manifest, extra: true }],
    ]
    for (const [code, value] of cases) {
      const folder = copy()
      rehash(folder, canonicalJsonBytes(value), manifest, key)
      expect((await refusal(openImage(folder))).code).toBe(code)
    }
    const spaced = copy()
    const bytes = Buffer.concat([readFileSync(join(spaced, 'manifest.json')), Buffer.from(' ')])
    rehash(spaced, bytes, manifest, key)
    expect((await refusal(openImage(spaced))).code).toBe('MANIFEST')
  })

  it('refuses missing parts, links in their place and parts that are too long', async () => {
    for (const name of ['manifest.json', 'image.sgxs', 'sigstruct.bin']) {
      const folder = copy()
      unlinkSync(join(folder, name))
      expect((await refusal(openImage(folder))).code).toBe('READ')
      symlinkSync(join(built.folder, name), join(folder, name))
      expect((await refusal(openImage(folder))).code).toBe('READ')
    }
    const folder = copy()
    appendFileSync(join(folder, 'sigstruct.bin'), '\0')
    expect((await refusal(openImage(folder))).code).toBe('READ')
    expect((await refusal(openImage(join(home, 'absent')))).code).toBe('READ')
  })

  it('refuses any changed bit of its three parts', async () => {
    const folder = copy()
    const parts = ['manifest.json', 'image.sgxs', 'sigstruct.bin'] as const
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...parts), fc.nat(), fc.nat(7), async (name, at, bit) => {
        const original = readFileSync(join(built.folder, name))
        const changed = Uint8Array.from(original)
        const index = at % changed.length
        changed[index] = (changed[index] ?? 0) ^ (1 << bit)
        writeFileSync(join(folder, name), changed)
        const error = await refusal(openImage(folder))
        expect(error.code).toBe(name === 'sigstruct.bin' ? 'SIGNATURE' : 'MEASUREMENT')
        writeFileSync(join(folder, name), original)
      }),
    )
  })
})
