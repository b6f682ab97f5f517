import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Dek } from './dek.ts'
import { SealedFormatError } from './errors.ts'
import { openSealedFile } from './reader.ts'

interface Expectations {
  readonly key: string
  readonly otherKey: string
  readonly files: readonly {
    readonly name: string
    readonly length: number
    readonly segmentSize: number
    readonly part: number
    readonly mediaType: string
    readonly fileId: string
    readonly fixedDigest: string
    readonly lastTag: string
  }[]
  readonly base: string
  readonly refused: readonly {
    readonly name: string
    readonly edits: readonly { readonly at: number; readonly bytes: string }[]
    readonly length: number
    readonly codes: readonly string[]
  }[]
}

const folder = fileURLToPath(new URL('../../../vectors/sealed/', import.meta.url))
const vectors = JSON.parse(await readFile(join(folder, 'expect.json'), 'utf8')) as Expectations
const keyOf = (hex: string): Dek => Dek.from(Buffer.from(hex, 'hex'))

async function readAll(path: string, key: string) {
  const reader = await openSealedFile(path, keyOf(key))
  try {
    const plaintext = await reader.readRange(0, reader.plaintextSize)
    return { reader, plaintext }
  } finally {
    await reader.close()
  }
}

describe('sealed files that are kept', () => {
  let scratch = ''
  beforeAll(async () => {
    scratch = await mkdtemp(join(tmpdir(), 'sealed-vectors-'))
  })
  afterAll(() => rm(scratch, { recursive: true }))

  it.each(vectors.files)('reads $name', async file => {
    const { reader, plaintext } = await readAll(join(folder, file.name), vectors.key)
    expect(Buffer.from(plaintext)).toEqual(
      Buffer.from(Array.from({ length: file.length }, (_, i) => (i * 7 + 3) % 256)),
    )
    const { fileId, part, mediaType, segmentSize } = file
    expect(reader.fixed).toMatchObject({ fileId, part, mediaType, segmentSize })
    expect(Buffer.from(reader.header.fixedDigest).toString('hex')).toBe(file.fixedDigest)
    expect(Buffer.from(reader.lastTag).toString('hex')).toBe(file.lastTag)
  })

  it.each(vectors.files)('refuses another key for $name', async file => {
    const opening = readAll(join(folder, file.name), vectors.otherKey)
    await expect(opening).rejects.toMatchObject({ code: 'HEADER_MAC' })
  })

  it.each(vectors.refused)('refuses $name', async ({ edits, length, codes }) => {
    const bytes = await readFile(join(folder, vectors.base))
    for (const edit of edits) bytes.set(Buffer.from(edit.bytes, 'hex'), edit.at)
    const path = join(scratch, 'edited')
    await writeFile(path, Buffer.concat([bytes, Buffer.alloc(1024)]).subarray(0, length))
    const error = await readAll(path, vectors.key).then(
      () => undefined,
      reason => reason,
    )
    expect(error).toBeInstanceOf(SealedFormatError)
    expect(codes).toContain(error.code)
  })
})
