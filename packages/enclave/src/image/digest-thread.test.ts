import { createHash, randomBytes } from 'node:crypto'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { DigestThread } from './digest-thread.ts'
import { digestFile, type FileDigest } from './files.ts'
import type { ImageEntry } from './manifest.ts'
import { TreeCheck } from './tree.ts'

let folder: string

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'cloister-digests-'))
})

afterAll(() => rmSync(folder, { recursive: true, force: true }))

type Digest = (file: FileHandle, limit: number) => Promise<FileDigest>

async function opened(path: string, digest: Digest, limit: number): Promise<FileDigest> {
  const file = await open(path)
  return await digest(file, limit).finally(() => file.close())
}

describe('the thread that hashes', () => {
  it('says what this one would, of files of any size, asked of several at a time', async () => {
    const sizes = [0, 1, 1024 * 1024, 1024 * 1024 + 1, 5_000_000]
    const paths = sizes.map((size, index) => {
      const path = join(folder, `${index}`)
      writeFileSync(path, randomBytes(size))
      return path
    })
    const { shared } = DigestThread
    const there: Digest = (file, most) => shared.digest(file, most)
    for (const limit of [0, 1, 1024 * 1024, 5_000_000, 6_000_000]) {
      const all = (digest: Digest) => Promise.all(paths.map(path => opened(path, digest, limit)))
      expect(await all(there)).toEqual(await all(digestFile))
    }
  })

  it('refuses what cannot be read, and others get another thread', async () => {
    const first = DigestThread.shared
    const inFirst: Digest = (file, limit) => first.digest(file, limit)
    for (let time = 0; time < 2; time++) {
      await expect(opened(folder, inFirst, 1)).rejects.toMatchObject({ code: 'READ' })
    }
    const path = join(folder, 'other')
    writeFileSync(path, 'other')
    const other = DigestThread.shared
    expect(await opened(path, (file, limit) => other.digest(file, limit), 9)).toMatchObject({
      size: 5,
    })
  })
})

describe('a tree with large files', () => {
  it('has each compared with its digest, whichever thread hashes it', async () => {
    const root = join(folder, 'root')
    mkdirSync(root)
    chmodSync(root, 0o755)
    const contents = ['a', 'b', 'c'].map(path => ({ path, bytes: randomBytes(5_000_000) }))
    const entries = contents.map(({ path, bytes }): ImageEntry => {
      writeFileSync(join(root, path), bytes)
      chmodSync(join(root, path), 0o644)
      const sha256 = createHash('sha256').update(bytes).digest('hex')
      return { path, type: 'file', mode: '0644', size: bytes.length, sha256, fsVerity: sha256 }
    })
    const problems = async () => {
      const check = new TreeCheck(root, entries)
      await check.run()
      return check.problems.map(({ code, path }) => `${code} ${path}`)
    }
    expect(await problems()).toEqual([])
    for (const { path, bytes } of contents) {
      const last = bytes.length - 1
      bytes[last] = (bytes[last] ?? 0) ^ 1
      writeFileSync(join(root, path), bytes)
      expect(await problems()).toEqual([`CHANGED root/${path}`])
      bytes[last] = (bytes[last] ?? 0) ^ 1
      writeFileSync(join(root, path), bytes)
    }
  })
})
