import { randomBytes } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Dek } from './dek.ts'
import { SealedFormatError } from './errors.ts'
import { fixedPart, newDatasetId, parseSealedHeader, type Slot } from './header.ts'
import { openSealedFile, plaintextSize } from './reader.ts'
import { replaceSlots } from './rewrap.ts'
import { createSealedFile } from './writer.ts'

const slot: Slot = {
  kmsId: 'kms',
  cmkId: 'cmk',
  cmkVersion: 1,
  wrappedDek: new Uint8Array(60).fill(1),
}
const dek = Dek.generate()
let folder = ''

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sealed-'))
})
afterAll(() => rm(folder, { recursive: true }))

async function create(name: string, segmentSize: number) {
  const path = join(folder, name)
  const fixed = fixedPart({
    datasetId: newDatasetId(),
    part: 0,
    mediaType: 'application/octet-stream',
    segmentSize,
  })
  return { path, writer: await createSealedFile({ path, fixed, dek, slots: [slot] }) }
}

async function seal(name: string, plaintext: Uint8Array, segmentSize = 256) {
  const { path, writer } = await create(name, segmentSize)
  await writer.write(plaintext)
  return { path, summary: await writer.close() }
}

async function readAll(path: string, key = dek): Promise<Uint8Array> {
  const reader = await openSealedFile(path, key)
  try {
    const parts: Uint8Array[] = []
    for await (const part of reader.stream()) parts.push(part)
    return Uint8Array.from(Buffer.concat(parts))
  } finally {
    await reader.close()
  }
}

async function codeOf(action: Promise<unknown>): Promise<string> {
  try {
    await action
  } catch (error) {
    if (error instanceof SealedFormatError) return error.code
    throw error
  }
  return 'none'
}

async function codeOfBytes(bytes: Uint8Array): Promise<string> {
  const path = join(folder, 'forged')
  await writeFile(path, bytes)
  return codeOf(readAll(path))
}

describe('sealed file', () => {
  it.each([256, 65_536])('round-trips with segments of %i bytes', async segmentSize => {
    const first = segmentSize - 56
    const second = first + segmentSize - 16
    for (const size of [
      0,
      1,
      first - 1,
      first,
      first + 1,
      second - 1,
      second,
      second + 1,
      3_000_000,
    ]) {
      if (segmentSize === 256 && size > 10_000) continue
      const plaintext = new Uint8Array(randomBytes(size))
      const { path, summary } = await seal('round', plaintext, segmentSize)
      const bytes = await readFile(path)
      expect(summary.length).toBe(bytes.length)
      expect(summary.lastTag).toEqual(Uint8Array.from(bytes.subarray(-16)))
      expect(await plaintextSize(path)).toBe(size)
      expect(Buffer.compare(await readAll(path), plaintext)).toBe(0)
    }
  })

  it('refuses every cut, bit flip and trailing byte', async () => {
    const { path } = await seal('small', new Uint8Array(randomBytes(500)))
    const bytes = Uint8Array.from(await readFile(path))
    for (let length = 0; length < bytes.length; length += 1) {
      expect(await codeOfBytes(bytes.subarray(0, length))).not.toBe('none')
    }
    for (let at = 4096; at < bytes.length; at += 1) {
      const forged = bytes.slice()
      forged[at] = (bytes[at] ?? 0) ^ (1 << (at & 7))
      expect(await codeOfBytes(forged)).toBe('TAG')
    }
    for (const extra of [1, 16, 17, 256]) {
      expect(await codeOfBytes(Buffer.concat([bytes, new Uint8Array(extra)]))).not.toBe('none')
    }
    expect(await codeOf(readAll(path, Dek.generate()))).toBe('HEADER_MAC')
  })

  it('refuses a header moved between files under one key', async () => {
    const a = await seal('a', new Uint8Array(300))
    const b = await seal('b', new Uint8Array(300))
    const [bytesA, bytesB] = [await readFile(a.path), await readFile(b.path)]
    const moved = Buffer.concat([bytesA.subarray(0, 4096), bytesB.subarray(4096)])
    expect(await codeOfBytes(moved)).toBe('TAG')
    const split = parseSealedHeader(bytesA.subarray(0, 4096)).fixedBytes.length
    const slots = Buffer.concat([bytesA.subarray(0, split), bytesB.subarray(split)])
    expect(await codeOfBytes(slots)).toBe('HEADER_MAC')
  })

  it('reads ranges and refuses those outside', async () => {
    const plaintext = new Uint8Array(randomBytes(1500))
    const { path } = await seal('range', plaintext)
    const reader = await openSealedFile(path, dek)
    for (let start = 0; start <= 1500; start += 13) {
      for (let end = start; end <= 1500; end += 29) {
        const range = await reader.readRange(start, end)
        expect(Buffer.compare(range, plaintext.subarray(start, end))).toBe(0)
      }
    }
    for (const [start, end] of [
      [-1, 1],
      [2, 1],
      [0, 1501],
      [0.5, 1],
      [0, Number.NaN],
    ] as const) {
      expect(await codeOf(reader.readRange(start, end))).toBe('RANGE')
    }
    await reader.close()
  })

  it('leaves nothing under the final name before close', async () => {
    const { path, writer } = await create('unfinished', 256)
    await writer.write(new Uint8Array(1000))
    expect(await readdir(folder)).not.toContain('unfinished')
    await writer.abort()
    expect((await readdir(folder)).filter(name => name.includes('unfinished'))).toEqual([])
    await expect(writer.write(new Uint8Array(1))).rejects.toThrow()
    await expect(readFile(path)).rejects.toThrow()
  })

  it('replaces slots and keeps the payload byte for byte', async () => {
    const plaintext = new Uint8Array(randomBytes(1000))
    const { path } = await seal('rewrap', plaintext)
    const before = await readFile(path)
    await replaceSlots(path, dek, [slot, { ...slot, kmsId: 'other', cmkVersion: 9 }])
    const after = await readFile(path)
    expect(after.subarray(4096).equals(before.subarray(4096))).toBe(true)
    expect(parseSealedHeader(after.subarray(0, 4096)).slots).toHaveLength(2)
    expect(Buffer.compare(await readAll(path), plaintext)).toBe(0)

    const big = { ...slot, wrappedDek: new Uint8Array(4096) }
    expect(await codeOf(replaceSlots(path, dek, [big]))).toBe('LIMIT')
    expect(await codeOf(replaceSlots(path, Dek.generate(), [slot]))).toBe('HEADER_MAC')
    expect((await readFile(path)).equals(after)).toBe(true)
    expect((await readdir(folder)).filter(name => name.endsWith('.tmp'))).toEqual([])
  })
})
