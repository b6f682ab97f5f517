import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  type DatasetId,
  headerBytes,
  parseSealedHeader,
  sealedHeaderLength,
} from '@cloister/sealed'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import type { KmsError } from '../protocol/errors.ts'
import { newKey, World } from '../server/flow.test.support.ts'
import type { KmsClient } from './kms-client.ts'
import { openOwnDataset, plaintextOf } from './own-dataset.ts'
import { rewrapDataset } from './rewrap-dataset.ts'
import { sealFile } from './seal-file.ts'

const PLAINTEXT = 'name,age\nada,36\n'.repeat(5000)

let world: World
let owner: KmsClient

beforeAll(async () => {
  world = await World.start()
  owner = await world.enrol()
})
afterAll(() => world.stop())

let folders = 0

/** A dataset of one part under a new key. */
async function sealed(mode: 'open' | 'attested-only') {
  const { keyId } = await owner.createKey({ mode })
  const folder = join(world.folder, `data-${folders++}`)
  const file = `${folder}.csv`
  await writeFile(file, PLAINTEXT)
  const { datasetId } = await sealFile({
    ...{ client: owner, keyId, file, folder, mediaType: 'text/csv', rows: null },
    ownerKey: newKey(),
  })
  return { keyId, folder, datasetId, path: join(folder, await partIn(folder)) }
}

async function partIn(folder: string): Promise<string> {
  const part = (await readdir(folder)).find(name => name.endsWith('.sealed'))
  if (part === undefined) throw new Error('no part')
  return part
}

async function readParts(path: string) {
  const bytes = await readFile(path)
  const length = sealedHeaderLength(bytes)
  return { header: bytes.subarray(0, length), payload: bytes.subarray(length) }
}

async function textOf(folder: string, datasetId: DatasetId): Promise<string> {
  const { parts } = await openOwnDataset(owner, folder, datasetId)
  const pieces: Uint8Array[] = []
  for await (const piece of plaintextOf(parts)) pieces.push(piece)
  return Buffer.concat(pieces).toString()
}

async function refusalOf(work: Promise<unknown>): Promise<string> {
  return await work.then(
    () => 'no refusal',
    (error: KmsError) => error.code,
  )
}

describe('rewrapping a dataset', () => {
  it('wraps under the newest version and leaves the payload as it is', async () => {
    const { keyId, folder, datasetId, path } = await sealed('open')
    const before = await readParts(path)
    expect((await owner.rotateKey(keyId)).currentVersion).toBe(2)
    expect(await textOf(folder, datasetId)).toBe(PLAINTEXT)

    const seen: number[] = []
    const onProgress = ({ parts }: { parts: number }) => seen.push(parts)
    const done = await rewrapDataset({ client: owner, folder, datasetId, onProgress })
    expect(done).toEqual({ parts: 1, rewrapped: 1 })
    expect(seen).toEqual([1])
    const after = await readParts(path)
    expect(after.payload.equals(before.payload)).toBe(true)
    expect(after.header.length).toBe(before.header.length)
    expect(parseSealedHeader(after.header).slots[0]?.cmkVersion).toBe(2)
    expect(await textOf(folder, datasetId)).toBe(PLAINTEXT)

    const again = await rewrapDataset({ client: owner, folder, datasetId })
    expect(again).toEqual({ parts: 1, rewrapped: 0 })
    expect((await readFile(path)).equals(Buffer.concat([after.header, after.payload]))).toBe(true)
  })

  it('serves attested-only keys, and tells nobody the DEK', async () => {
    const { keyId, folder, datasetId, path } = await sealed('attested-only')
    await owner.rotateKey(keyId)
    expect(await rewrapDataset({ client: owner, folder, datasetId })).toMatchObject({
      rewrapped: 1,
    })
    expect(await refusalOf(openOwnDataset(owner, folder, datasetId))).toBe('KEY_ATTESTED_ONLY')
    // The answer is the file's header and nothing else: what could be read there was there before.
    const { header } = await readParts(path)
    const { slots } = parseSealedHeader(header)
    expect(slots).toHaveLength(1)
    expect(slots[0]).toMatchObject({ cmkId: keyId, cmkVersion: 2 })
  })

  it('leaves a file alone that was replaced meanwhile', async () => {
    const { keyId, folder, datasetId, path } = await sealed('open')
    await owner.rotateKey(keyId)
    const other = await sealed('open')
    const honest = owner.rewrapHeader.bind(owner)
    vi.spyOn(owner, 'rewrapHeader').mockImplementationOnce(async (id, header) => {
      const made = await honest(id, header)
      await writeFile(path, await readFile(other.path))
      return made
    })
    expect(await refusalOf(rewrapDataset({ client: owner, folder, datasetId }))).toBe('HEADER')
    expect((await readFile(path)).equals(await readFile(other.path))).toBe(true)
    const left = (await readdir(folder)).filter(name => name.endsWith('.tmp'))
    expect(left).toEqual([])
    expect((await stat(path)).isFile()).toBe(true)
  })
})

describe('what the key service does not rewrap', () => {
  it('refuses strangers, disabled keys, other keys and altered headers, and audits it', async () => {
    const { keyId, path } = await sealed('attested-only')
    await owner.rotateKey(keyId)
    const { header } = await readParts(path)
    const stranger = await world.enrol()
    expect(await refusalOf(stranger.rewrapHeader(keyId, header))).toBe('NOT_OWNER')
    expect(await refusalOf(stranger.rotateKey(keyId))).toBe('NOT_OWNER')

    const { keyId: otherKey } = await owner.createKey({ mode: 'open' })
    expect(await refusalOf(owner.rewrapHeader(otherKey, header))).toBe('SLOT_INVALID')

    // An open key's name on an attested-only key's slot does not open it.
    const foreign = Buffer.from(header)
    foreign.write(otherKey, foreign.indexOf(keyId), 'latin1')
    expect(await refusalOf(owner.rewrapHeader(otherKey, foreign))).toBe('SLOT_INVALID')

    const { macInput } = parseSealedHeader(header)
    for (let at = 0; at < macInput.length + 32; at++) {
      const altered = Buffer.from(header)
      altered.writeUInt8(altered.readUInt8(at) ^ 1, at)
      expect(await refusalOf(owner.rewrapHeader(keyId, altered))).toMatch(
        /^(SLOT_INVALID|MALFORMED)$/,
      )
    }
    expect(await refusalOf(owner.rewrapHeader(keyId, header.subarray(0, 4000)))).toBe('MALFORMED')
    expect(await refusalOf(owner.rewrapHeader(keyId, new Uint8Array(65_537)))).toBe('MALFORMED')

    await owner.disableKey(keyId)
    expect(await refusalOf(owner.rewrapHeader(keyId, header))).toBe('KEY_DISABLED')
    expect(await refusalOf(owner.rotateKey(keyId))).toBe('KEY_DISABLED')
    await owner.enableKey(keyId)
    expect(parseSealedHeader(await owner.rewrapHeader(keyId, header)).slots[0]?.cmkVersion).toBe(2)

    const rows = (await owner.audit()).filter(({ entry }) => entry['keyId'] === keyId)
    const acts = rows.map(({ entry }) => `${entry['action']} ${entry['outcome']}`)
    expect(acts).toContain('rewrap denied')
    // What is allowed is counted, and what is refused has a row each.
    expect(acts).not.toContain('rewrap done')
    expect(acts).toContain('rotate-key done')
  })

  it('gives back a header that is current as it is', async () => {
    const { keyId, path } = await sealed('attested-only')
    const { header } = await readParts(path)
    expect(Buffer.compare(await owner.rewrapHeader(keyId, header), header)).toBe(0)
    expect(Buffer.compare(headerBytes(parseSealedHeader(header)), header)).toBe(0)
  })
})
