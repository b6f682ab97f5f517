import { spawnSync } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import {
  appendFile,
  copyFile,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Dek } from '../dek.ts'
import { encodeWrapContext, fixedPart, newDatasetId, newFileId } from '../header.ts'
import { replaceSlots } from '../rewrap.ts'
import { createSealedFile } from '../writer.ts'
import {
  codeOf,
  dek,
  newFolder,
  newWriter,
  readAll,
  slot,
  someBytes,
  writeVersion,
} from './fixture.test.support.ts'
import { type DatasetHead, type Expectation, headOf } from './head.ts'
import type { Manifest, ManifestPart } from './manifest.ts'
import { openDataset, openPart, openUnlistedPart, readUnverifiedManifest } from './open.ts'
import { signManifest, verifyManifest } from './signature.ts'
import { createDatasetWriter, type PartContext } from './write.ts'
import { encodeWriterKey } from './writer-key.ts'

const writer = newWriter()
const first = [someBytes(0), someBytes(500), someBytes(5000)]
let folder = ''
let head: DatasetHead

beforeEach(async () => {
  folder = await newFolder()
  head = await writeVersion({ folder, writer, contents: first })
})
afterEach(() => rm(folder, { recursive: true, force: true }))

const at = (wanted = head): Expectation => ({ kind: 'head', head: wanted })
const openAt = (wanted = head) => openDataset(folder, at(wanted))
const unchecked = () =>
  ({
    kind: 'unchecked-freshness',
    datasetId: head.datasetId,
    writerKey: head.writerKey,
  }) as const
const manifestPath = () => join(folder, 'manifest.jws')

/** Leaves only `manifest.jws`, as a host would who puts another manifest in its place. */
async function forgetManifestsByDigest(): Promise<void> {
  for (const name of await readdir(folder)) {
    if (name.startsWith('manifest-')) await rm(join(folder, name))
  }
}

async function pathOf(index: number): Promise<string> {
  const path = (await openAt()).parts[index]?.path
  if (path === undefined) throw new Error('no such part')
  return path
}

async function partAt(index: number, wanted = head) {
  const part = (await openAt(wanted)).parts[index]
  if (part === undefined) throw new Error('no such part')
  return part
}

async function flip(path: string, position: number): Promise<void> {
  const bytes = await readFile(path)
  const offset = position < 0 ? bytes.length + position : position
  bytes.writeUInt8(bytes.readUInt8(offset) ^ 1, offset)
  await writeFile(path, bytes)
}

describe('dataset', () => {
  it('round-trips under every expectation', async () => {
    const { datasetId, writerKey } = head
    for (const expectation of [
      at(),
      { kind: 'version', datasetId, version: 1, writerKey },
      { kind: 'unchecked-freshness', datasetId, writerKey },
    ] as const) {
      const dataset = await openDataset(folder, expectation)
      expect(dataset.freshness).toBe(expectation.kind)
      expect(dataset.manifestDigest).toBe(head.manifestDigest)
      expect(dataset.manifest.parts.map(part => part.rows)).toEqual([0, 500, 5000])
      expect(await readAll(dataset)).toEqual(first)
    }
  })

  it('appends and replaces without touching the parts before', async () => {
    const before = await readdir(folder)
    const base = await openAt()
    const second = await writeVersion({ folder, writer, base, contents: [someBytes(10)] })
    const appended = await openAt(second)
    expect(appended.parts).toHaveLength(4)
    expect(appended.manifest.previous).toBe(head.manifestDigest)
    const kept = base.parts.slice(0, 1)
    const third = await writeVersion({
      folder,
      writer,
      base: appended,
      keep: kept,
      contents: [someBytes(9)],
    })
    expect((await openAt(third)).parts).toHaveLength(2)
    const after = await readdir(folder)
    expect(after).toEqual(expect.arrayContaining(before))
    expect(after).toHaveLength(before.length + 4)
    expect(after.filter(name => name.endsWith('.tmp'))).toEqual([])
  })

  it('stays readable when slots are replaced', async () => {
    await replaceSlots(await pathOf(1), dek, [slot, { ...slot, kmsId: 'other' }])
    const dataset = await openAt()
    expect(dataset.parts[1]?.header.slots).toHaveLength(2)
    expect(await readAll(dataset)).toEqual(first)
  })

  it('ignores files that the manifest does not list', async () => {
    await writeFile(join(folder, 'part-00003-extra.sealed'), 'extra')
    await mkdir(join(folder, 'more'))
    expect((await openAt()).parts).toHaveLength(3)
  })

  it('refuses a manifest that is missing or no file', async () => {
    await forgetManifestsByDigest()
    await rm(manifestPath())
    expect(await codeOf(() => openAt())).toBe('MANIFEST_MISSING')
    await mkdir(manifestPath())
    expect(await codeOf(() => openAt())).toBe('MANIFEST_MISSING')
    await rm(folder, { recursive: true })
    expect(await codeOf(() => openAt())).toBe('MANIFEST_MISSING')
  })

  it('refuses a manifest put back against a head and a version, and not without', async () => {
    const old = await readFile(manifestPath())
    const second = await writeVersion({ folder, writer, base: await openAt(), contents: [] })
    const { datasetId, writerKey } = second
    await writeFile(manifestPath(), old)
    expect(await codeOf(() => openAt(second))).toBe('none')
    await forgetManifestsByDigest()
    expect(await codeOf(() => openAt(second))).toBe('VERSION')
    const version: Expectation = { kind: 'version', datasetId, version: 2, writerKey }
    expect(await codeOf(() => openDataset(folder, version))).toBe('VERSION')
    expect((await openDataset(folder, unchecked())).freshness).toBe('unchecked-freshness')
  })

  it('refuses another manifest of the same version', async () => {
    const { datasetId } = head
    const twin = await writeVersion({ folder, writer, datasetId, contents: [someBytes(5)] })
    expect(await codeOf(() => openAt())).toBe('none')
    expect(await codeOf(() => openAt(twin))).toBe('none')
    await forgetManifestsByDigest()
    expect(await codeOf(() => openAt())).toBe('DIGEST')
    expect(await codeOf(() => openAt(twin))).toBe('none')
  })

  it("refuses another writer's manifest, another dataset's, and no key at all", async () => {
    const other = newWriter()
    const writerKey = encodeWriterKey(other.writerKey)
    expect(await codeOf(() => openAt({ ...head, writerKey }))).toBe('SIGNATURE')
    const datasetId = newDatasetId()
    for (const expectation of [
      at({ ...head, datasetId }),
      { kind: 'version', datasetId, version: 1, writerKey: head.writerKey },
      { kind: 'unchecked-freshness', datasetId, writerKey: head.writerKey },
    ] as const) {
      expect(await codeOf(() => openDataset(folder, expectation))).toBe('DATASET_ID')
    }
    const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey
    for (const bad of [
      '',
      `${head.writerKey}=`,
      head.writerKey.slice(0, -4),
      p384.export({ format: 'der', type: 'spki' }).toString('base64url'),
    ]) {
      expect(await codeOf(() => openAt({ ...head, writerKey: bad }))).toBe('WRITER_KEY')
    }
  })

  it('refuses any byte of the manifest changed, and any cut of it', async () => {
    await forgetManifestsByDigest()
    const bytes = await readFile(manifestPath())
    for (let position = 0; position < bytes.length; position += 1) {
      const forged = Buffer.from(bytes)
      forged.writeUInt8(forged.readUInt8(position) ^ (1 << (position & 7)), position)
      await writeFile(manifestPath(), forged)
      expect(await codeOf(() => openAt())).toMatch(/^(MANIFEST_FORMAT|SIGNATURE)$/)
    }
    for (let length = 0; length < bytes.length; length += 7) {
      await writeFile(manifestPath(), bytes.subarray(0, length))
      expect(await codeOf(() => openAt())).toMatch(/^(MANIFEST_FORMAT|SIGNATURE)$/)
    }
    await writeFile(manifestPath(), `${bytes}\n`)
    expect(await codeOf(() => openAt())).toBe('MANIFEST_FORMAT')
  })
})

describe('part of a dataset', () => {
  it('is refused when missing, or when no file', async () => {
    const path = await pathOf(1)
    await rm(path)
    expect(await codeOf(() => openAt())).toBe('PART_MISSING')
    await mkdir(path)
    expect(await codeOf(() => openAt())).toBe('PART_MISSING')
  })

  it.skipIf(process.platform === 'win32')('is refused when a pipe, without waiting', async () => {
    const path = await pathOf(1)
    const part = await partAt(1)
    await rm(path)
    spawnSync('sh', ['-c', 'mkfifo "$1"', 'sh', path])
    expect(await codeOf(() => openAt())).toBe('PART_MISSING')
    expect(await codeOf(() => openPart(part, dek))).toBe('PART_MISSING')
  })

  it('and its manifest, read unverified, is refused when a pipe, without waiting', async () => {
    expect((await readUnverifiedManifest(folder)).datasetId).toBe(head.datasetId)
    const path = join(folder, 'manifest.jws')
    await rm(path)
    spawnSync('mkfifo', [path])
    expect(await codeOf(() => readUnverifiedManifest(folder))).toBe('MANIFEST_MISSING')
  })

  it('is refused when swapped with another part', async () => {
    const [a, b] = [await pathOf(1), await pathOf(2)]
    await rename(a, `${a}.x`)
    await rename(b, a)
    await rename(`${a}.x`, b)
    expect(await codeOf(() => openAt())).toBe('PART_FOREIGN')
  })

  it("is refused when replaced by an older version's or another dataset's", async () => {
    const old = await pathOf(1)
    const base = await openAt()
    const keep = base.parts.slice(0, 1)
    const second = await writeVersion({ folder, writer, base, keep, contents: [someBytes(500)] })
    const part = await partAt(1, second)
    await copyFile(old, part.path)
    expect(await codeOf(() => openAt(second))).toBe('PART_FOREIGN')
    const elsewhere = join(folder, 'elsewhere')
    await mkdir(elsewhere)
    const contents = [someBytes(1), someBytes(500)]
    const foreign = await writeVersion({ folder: elsewhere, writer, contents })
    const { parts } = await openDataset(elsewhere, at(foreign))
    await copyFile(parts[1]?.path ?? '', part.path)
    expect(await codeOf(() => openAt(second))).toBe('PART_FOREIGN')
  })

  it('is refused when cut, extended, emptied or altered in its fixed part or last tag', async () => {
    const path = await pathOf(2)
    const bytes = await readFile(path)
    const tries = [
      () => truncate(path, bytes.length - 1),
      () => truncate(path, 5),
      () => truncate(path, 0),
      () => appendFile(path, 'x'),
      () => flip(path, 0),
      () => flip(path, -1),
      () => flip(path, -16),
    ]
    for (const change of tries) {
      await change()
      expect(await codeOf(() => openAt())).toBe('PART_CHANGED')
      await writeFile(path, bytes)
    }
  })

  it('is refused when it is another sealing of the same fixed part', async () => {
    const part = await partAt(1)
    const other = await partAt(2)
    const bytes = await readFile(part.path)
    const moved = await readFile(other.path)
    // The right header over another payload: told by the length here, by the tag below.
    await writeFile(part.path, Buffer.concat([bytes.subarray(0, 4096), moved.subarray(4096)]))
    expect(await codeOf(() => openAt())).toBe('PART_CHANGED')
    await writeFile(part.path, Buffer.concat([bytes.subarray(0, -16), moved.subarray(-16)]))
    expect(await codeOf(() => openAt())).toBe('PART_CHANGED')
  })

  it('is refused by a single altered bit, on opening the dataset, the part or its segment', async () => {
    const path = await pathOf(1)
    const bytes = await readFile(path)
    for (let position = 0; position < bytes.length; position += position < 4096 ? 13 : 1) {
      await flip(path, position)
      const code = await codeOf(async () => readAll(await openAt()))
      expect(code).toMatch(/^(PART_CHANGED|PART_FOREIGN|HEADER_MAC|TAG)$/)
      await writeFile(path, bytes)
    }
  })

  it('is refused when it differs in one field from a manifest that is signed', async () => {
    const { manifest } = await openAt()
    const [one, two, three] = manifest.parts
    if (one === undefined || two === undefined || three === undefined) throw new Error('no parts')
    const changes: readonly (readonly [Partial<Manifest>, string, string])[] = [
      [{ datasetId: newDatasetId() }, 'dataset id', 'PART_FOREIGN'],
      [{ parts: [one, three, two] }, 'part number', 'PART_FOREIGN'],
      [{ parts: [{ ...one, fileId: newFileId() }] }, 'file id', 'PART_FOREIGN'],
      [{ parts: [{ ...one, fixedDigest: '00'.repeat(32) }] }, 'fixed digest', 'PART_CHANGED'],
      [{ parts: [{ ...one, length: one.length + 1 }] }, 'length', 'PART_CHANGED'],
      [{ parts: [{ ...one, lastTag: '00'.repeat(16) }] }, 'last tag', 'PART_CHANGED'],
    ]
    for (const [change, field, code] of changes) {
      const changed = { ...manifest, ...change }
      await writeFile(manifestPath(), await signManifest(changed, writer.sign))
      const { datasetId } = changed
      const open = openDataset(folder, { ...unchecked(), datasetId })
      await expect(open).rejects.toMatchObject({
        code,
        message: expect.stringMatching(`^${field} of .*: wanted .*, seen `),
      })
    }
  })

  it('is checked again on the opened file', async () => {
    const [one, two] = [await partAt(1), await partAt(2)]
    const bytes = await readFile(one.path)
    await copyFile(two.path, one.path)
    expect(await codeOf(() => openPart(one, dek))).toBe('PART_FOREIGN')
    await writeFile(one.path, bytes.subarray(0, -1))
    expect(await codeOf(() => openPart(one, dek))).toBe('PART_CHANGED')
    await rm(one.path)
    expect(await codeOf(() => openPart(one, dek))).toBe('PART_MISSING')
    expect(await codeOf(() => openPart(two, Dek.generate()))).toBe('HEADER_MAC')
    await expect(openPart(two, Dek.generate())).rejects.toThrow(`${two.path}: `)
  })

  it('keeps the opened file when another takes its name', async () => {
    const [one, two] = [await partAt(1), await partAt(2)]
    const reader = await openPart(one, dek)
    await rename(two.path, one.path)
    expect(Buffer.from(await reader.readRange(0, 500)).equals(first[1] ?? Buffer.alloc(0))).toBe(
      true,
    )
    await reader.close()
  })
})

describe('numbers that are no places in the list', () => {
  /** A version whose parts bear these numbers, and a manifest that says others, or none. */
  async function writeNumbered(sealed: readonly number[], said: readonly (number | undefined)[]) {
    const { datasetId } = head
    const parts: ManifestPart[] = []
    for (const [index, part] of sealed.entries()) {
      const fixed = fixedPart({ datasetId, part, mediaType: 'text/csv' })
      const name = `numbered-${fixed.fileId}.sealed`
      const file = await createSealedFile({ path: join(folder, name), fixed, dek, slots: [slot] })
      await file.write(Buffer.from(`${part}`))
      const { fileId, fixedDigest, length, lastTag } = await file.close()
      const number = said[index]
      parts.push({
        ...{ name, fileId, length, rows: null },
        fixedDigest: Buffer.from(fixedDigest).toString('hex'),
        lastTag: Buffer.from(lastTag).toString('hex'),
        ...(number === undefined ? {} : { number }),
      })
    }
    const manifest: Manifest = {
      ...{ datasetId, version: 2, previous: head.manifestDigest, mediaType: 'text/csv', parts },
    }
    const jws = await signManifest(manifest, writer.sign)
    const verified = verifyManifest(jws, writer.writerKey)
    await writeFile(join(folder, `manifest-${verified.digest}.jws`), jws)
    return headOf(verified, writer.writerKey)
  }

  it('are those in the files, in the order of the list', async () => {
    const numbers = [2 ** 32 - 1, 1, 0]
    const dataset = await openAt(await writeNumbered(numbers, [2 ** 32 - 1, undefined, 0]))
    expect(dataset.parts.map(({ number }) => number)).toEqual(numbers)
    expect((await readAll(dataset)).map(String)).toEqual(numbers.map(String))
  })

  it('are refused where a file has another', async () => {
    for (const [sealed, said] of [
      [[7], [8]],
      [[7], [undefined]],
      [[0], [7]],
      [
        [7, 8],
        [8, 7],
      ],
    ] as const) {
      const other = await writeNumbered(sealed, said)
      expect(await codeOf(() => openAt(other))).toBe('PART_FOREIGN')
    }
  })

  it('stay with parts that are kept, in any order, and new parts take others', async () => {
    const base = await openAt(await writeNumbered([3, 2, 70], [3, 2, 70]))
    const keep = base.parts.slice(0, 2).reverse()
    const contents = [someBytes(10), someBytes(11), someBytes(12)]
    const next = await openAt(await writeVersion({ folder, writer, base, keep, contents }))
    expect(next.parts.map(({ number }) => number)).toEqual([2, 3, 4, 5, 6])
    expect((await readAll(next)).slice(2)).toEqual(contents)
  })
})

describe('a part that no manifest lists yet', () => {
  const openUnlisted = (entry: ManifestPart, number = 1) =>
    openUnlistedPart(folder, { datasetId: head.datasetId, number, entry }, dek)
  const entryAt = async (index: number) => {
    const entry = (await openAt()).manifest.parts[index]
    if (entry === undefined) throw new Error(`no part ${index}`)
    return entry
  }

  it('opens when it is what is said of it, and not otherwise', async () => {
    const entry = await entryAt(1)
    const reader = await openUnlisted(entry)
    expect(reader.plaintextSize).toBe(500)
    await reader.close()
    for (const [change, code] of [
      [{ fixedDigest: 'ab'.repeat(32) }, 'PART_CHANGED'],
      [{ length: entry.length + 1 }, 'PART_CHANGED'],
      [{ lastTag: 'ab'.repeat(16) }, 'PART_CHANGED'],
      [{ fileId: newFileId() }, 'PART_FOREIGN'],
      [{ name: 'nothing' }, 'PART_MISSING'],
    ] as const) {
      expect(await codeOf(() => openUnlisted({ ...entry, ...change }))).toBe(code)
    }
    expect(await codeOf(() => openUnlisted(entry, 2))).toBe('PART_FOREIGN')
  })

  it('is no link, no pipe and no folder, and is never waited for', async () => {
    const entry = await entryAt(1)
    await symlink(join(folder, entry.name), join(folder, 'link'))
    spawnSync('mkfifo', [join(folder, 'pipe')])
    await mkdir(join(folder, 'folder'))
    expect(await codeOf(() => openUnlisted({ ...entry, name: 'link' }))).toBe('IO')
    expect(await codeOf(() => openUnlisted({ ...entry, name: 'pipe' }))).toBe('PART_MISSING')
    expect(await codeOf(() => openUnlisted({ ...entry, name: 'folder' }))).toBe('PART_MISSING')
  })
})

describe('dataset writer', () => {
  const begin = (keep: Parameters<typeof createDatasetWriter>[0]['keep'] = []) =>
    createDatasetWriter({ folder, datasetId: head.datasetId, mediaType: 'text/csv', keep })
  const options = { mediaType: 'text/csv', dek, slots: [slot] }

  it('removes on abort what it wrote and nothing else', async () => {
    const before = await readdir(folder)
    const dataset = begin((await openAt()).parts)
    const closed = await dataset.newPart(options)
    await closed.close(null)
    const pending = await dataset.newPart(options)
    await pending.write(someBytes(100_000))
    const late = codeOf(() => dataset.newPart(options))
    await dataset.abort()
    expect(await readdir(folder)).toEqual(before)
    expect(await late).toBe('WRITER_STATE')
    await dataset.abort()
    expect(await codeOf(() => dataset.newPart(options))).toBe('WRITER_STATE')
    expect(await codeOf(() => openAt())).toBe('none')
  })

  it('refuses to commit with a part open, or twice', async () => {
    const dataset = begin()
    const part = await dataset.newPart(options)
    const commit = () => dataset.commit({ version: 2, previous: head.manifestDigest, ...writer })
    expect(await codeOf(commit)).toBe('WRITER_STATE')
    await part.close(null)
    expect(await codeOf(commit)).toBe('none')
    expect(await codeOf(commit)).toBe('WRITER_STATE')
    await dataset.abort()
    expect((await readdir(folder)).includes(part.name)).toBe(true)
  })

  it('leaves the manifest before when signing fails, and can try again', async () => {
    const dataset = begin()
    const version = { version: 2, previous: head.manifestDigest }
    const other = newWriter()
    const tries = [
      { ...version, ...writer, sign: other.sign },
      { ...version, ...writer, sign: () => new Uint8Array(63) },
    ]
    for (const commit of tries) {
      expect(await codeOf(() => dataset.commit(commit))).toBe('SIGNATURE')
      expect(await codeOf(() => openAt())).toBe('none')
    }
    const unlinked = { ...writer, version: 2, previous: null }
    expect(await codeOf(() => dataset.commit(unlinked))).toBe('MANIFEST_FORMAT')
    const second = await dataset.commit({ ...version, ...writer })
    expect((await openAt(second)).parts).toEqual([])
  })

  it('makes slots from the context that the header ends up with', async () => {
    const dataset = begin()
    const seen: PartContext[] = []
    const part = await dataset.newPart({
      ...options,
      slots: context => {
        seen.push(context)
        const { fileId, datasetId } = context.fixed
        const wrapContext = { cmkId: 'cmk', cmkVersion: 1, fixedDigest: context.fixedDigest }
        encodeWrapContext({ ...wrapContext, fileId, datasetId })
        return [{ ...slot, wrappedDek: new Uint8Array(4000) }]
      },
    })
    expect(seen).toHaveLength(2)
    expect(seen.at(-1)?.fixedDigest).toEqual(part.fixedDigest)
    expect(part.name).toContain(seen[0]?.fixed.fileId)
    await dataset.abort()
  })

  it('refuses kept parts out of place, of another dataset or from another folder', async () => {
    const { parts } = await openAt()
    expect(await codeOf(() => begin(parts.slice(1)))).toBe('PART_FOREIGN')
    const settings = { folder, datasetId: head.datasetId, mediaType: 'text/csv', keep: parts }
    const moved = { ...settings, folder: dirname(folder) }
    expect(await codeOf(() => createDatasetWriter(moved))).toBe('PART_FOREIGN')
    const foreign = { ...settings, datasetId: newDatasetId() }
    expect(await codeOf(() => createDatasetWriter(foreign))).toBe('PART_FOREIGN')
  })

  it('says so when the folder is not there', async () => {
    const gone = join(folder, 'gone')
    const settings = { folder: gone, datasetId: head.datasetId, mediaType: 'text/csv', keep: [] }
    const dataset = createDatasetWriter(settings)
    expect(await codeOf(() => dataset.newPart(options))).toBe('IO')
  })
})
