import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { appendFile, mkdir, readdir, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { newDatasetId } from '../header.ts'
import { codeOf, dek, newFolder, newWriter, slot, someBytes } from './fixture.test.support.ts'
import { layOut, plaintextBytes } from './lay-out.ts'
import { openDataset } from './open.ts'
import { filesBelow } from './plain-files.ts'
import { createDatasetWriter } from './write.ts'

const writer = newWriter()

/** A folder that goes when its test is over. */
async function ownFolder(): Promise<string> {
  const folder = await newFolder()
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  return folder
}

/** Seals files under their paths, or none, and opens the dataset. */
async function sealed(
  files: readonly (readonly [path: string | undefined, content: Uint8Array])[],
) {
  const folder = await ownFolder()
  const datasetId = newDatasetId()
  const dataset = createDatasetWriter({ folder, datasetId, mediaType: 'text/csv', keep: [] })
  for (const [path, content] of files) {
    const part = await dataset.newPart({
      ...{ mediaType: 'text/csv', dek, slots: [slot], segmentSize: 256 },
      ...(path === undefined ? {} : { path }),
    })
    await part.write(content)
    await part.close(null)
  }
  const head = await dataset.commit({ version: 1, previous: null, ...writer })
  const opened = await openDataset(folder, { kind: 'head', head })
  return opened.parts.map(part => ({ part, dek }))
}

describe('files below a folder', () => {
  it('are found in the order of their bytes, with their paths', async () => {
    const folder = await ownFolder()
    for (const path of ['b.txt', 'a/ä ö.txt', 'a/b/c', 'Z', 'a.txt']) {
      mkdirSync(join(folder, dirname(path)), { recursive: true })
      writeFileSync(join(folder, path), path)
    }
    mkdirSync(join(folder, 'empty'))
    const found = await filesBelow(folder)
    expect(found.map(({ path }) => path)).toEqual(['Z', 'a.txt', 'a/b/c', 'a/ä ö.txt', 'b.txt'])
    expect(found.map(({ file }) => readFileSync(file, 'utf8'))).toEqual(found.map(f => f.path))
    expect(found[0]?.sizeBytes).toBe(1)
  })

  it('are refused with a link, a pipe, a socket or an odd name among them', async () => {
    const plants: readonly ((folder: string) => unknown)[] = [
      folder => symlinkSync('/etc/passwd', join(folder, 'link')),
      folder => symlinkSync('/proc/self', join(folder, 'link')),
      folder => symlinkSync('missing', join(folder, 'link')),
      folder => symlinkSync('.', join(folder, 'link')),
      folder => execFileSync('mkfifo', [join(folder, 'pipe')]),
      folder => writeFileSync(join(folder, 'a\nb'), ''),
      folder => writeFileSync(join(folder, 'a\\b'), ''),
      folder => writeFileSync(Buffer.from(`${folder}/\xff`, 'latin1'), ''),
    ]
    for (const plant of plants) {
      const folder = await ownFolder()
      mkdirSync(join(folder, 'below'))
      writeFileSync(join(folder, 'good'), '')
      plant(join(folder, 'below'))
      expect(await codeOf(() => filesBelow(folder)), plant.toString()).toBe('PLAIN_FILE')
    }
  })
})

describe('a dataset laid out as files', () => {
  it('has every file at its path, to the last byte', async () => {
    const files = [
      ['a/b/one.bin', someBytes(100_000)],
      ['a/two', Buffer.alloc(0)],
      [undefined, someBytes(7)],
      ['three.csv', someBytes(257)],
    ] as const
    const parts = await sealed(files)
    const target = await ownFolder()
    const written = await layOut(target, parts, { fileMode: 0o444, folderMode: 0o755 })
    expect(written).toBe(100_264)
    expect(plaintextBytes(parts.map(({ part }) => part))).toBe(written)
    for (const [path = 'part-00002.csv', content] of files) {
      expect(readFileSync(join(target, path)).equals(content)).toBe(true)
      expect(statSync(join(target, path)).mode & 0o777).toBe(0o444)
    }
    expect(await filesBelow(target)).toHaveLength(4)
  })

  it('is refused where there is no room for it, before anything is written', async () => {
    const parts = await sealed([['a', someBytes(1000)]])
    const target = await ownFolder()
    expect(await codeOf(() => layOut(target, parts, { roomBytes: 999 }))).toBe('NO_SPACE')
    expect(await readdir(target)).toEqual([])
    expect(await layOut(target, parts, { roomBytes: 1000 })).toBe(1000)
  })

  it('is refused when a part without a path would stand where another does', async () => {
    const parts = await sealed([
      ['part-00001.csv', someBytes(3)],
      [undefined, someBytes(3)],
    ])
    expect(await codeOf(async () => layOut(await ownFolder(), parts))).toBe('MANIFEST_FORMAT')
  })

  it('overwrites nothing, and gives no part that was altered', async () => {
    const parts = await sealed([['a', someBytes(1000)]])
    const target = await ownFolder()
    await mkdir(join(target, 'a'))
    expect(await codeOf(() => layOut(target, parts))).toBe('IO')
    await appendFile(parts[0]?.part.path ?? '', 'x')
    expect(await codeOf(async () => layOut(await ownFolder(), parts))).toBe('PART_CHANGED')
  })
})
