import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import {
  createSealedFile,
  Dek,
  fixedPart,
  newDatasetId,
  openSealedFile,
  parseSealedHeader,
  sealedHeaderLength,
} from '@cloister/sealed'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { newKey, World } from '../server/flow.test.support.ts'
import type { KmsClient } from './kms-client.ts'
import { openOwnDataset } from './own-dataset.ts'
import { rewrapFolder } from './rewrap-folder.ts'
import { sealFile } from './seal-file.ts'
import { slotFor } from './slot.test.support.ts'

let world: World
let owner: KmsClient
let credential: string

beforeAll(async () => {
  world = await World.start()
  const account = await world.account()
  owner = account.client
  credential = account.credential
})
afterAll(() => world.stop())

let folders = 0

async function newFolder(): Promise<string> {
  const folder = join(world.folder, `sealed-${folders++}`)
  await mkdir(join(folder, 'deep/er'), { recursive: true })
  return folder
}

/** A sealed file of its own, which is part of no dataset. */
async function seal(path: string, keyId: string, bytes: number, client = owner) {
  const dek = Dek.generate()
  const plaintext = randomBytes(bytes)
  const mediaType = 'application/octet-stream'
  const fixed = fixedPart({ datasetId: newDatasetId(), part: 0, mediaType })
  const { slot } = await slotFor(client, keyId, fixed, dek)
  const file = await createSealedFile({ path, fixed, dek, slots: [slot] })
  await file.write(plaintext)
  await file.close()
  return { dek, path, plaintext }
}

async function versionOf(path: string): Promise<number | undefined> {
  const bytes = await readFile(path)
  const header = parseSealedHeader(bytes.subarray(0, sealedHeaderLength(bytes)))
  return header.slots[0]?.cmkVersion
}

async function plaintextOf(path: string, dek: Dek): Promise<Buffer> {
  const reader = await openSealedFile(path, dek)
  const pieces: Uint8Array[] = []
  for await (const piece of reader.stream()) pieces.push(piece)
  await reader.close()
  return Buffer.concat(pieces)
}

describe('rewrapping a folder', () => {
  it('renews sealed files and datasets at any depth, and nothing else', async () => {
    const folder = await newFolder()
    const { keyId } = await owner.createKey({ mode: 'open' })
    const files = [
      await seal(join(folder, 'a.sealed'), keyId, 100_000),
      await seal(join(folder, 'deep/b'), keyId, 0),
      await seal(join(folder, 'deep/er/c.bin'), keyId, 5),
    ]
    await writeFile(join(folder, 'plain.csv'), 'a,b\n')
    await writeFile(join(folder, 'empty'), '')
    await symlink(join(folder, 'a.sealed'), join(folder, 'deep/link'))
    const csv = join(world.folder, 'people.csv')
    await writeFile(csv, 'name\nada\n'.repeat(100))
    const dataset = join(folder, 'deep/people')
    const { datasetId } = await sealFile({
      ...{ client: owner, keyId, file: csv, folder: dataset, mediaType: 'text/csv', rows: null },
      ownerKey: newKey(),
    })
    const before = await readFile(files[0]?.path ?? '')
    expect(await rewrapFolder({ client: owner, folder })).toMatchObject({ files: 4, current: 4 })
    await owner.rotateKey(keyId)
    const seen: number[] = []
    const onProgress = (done: { files: number; of: number }) => seen.push(done.files)
    const done = await rewrapFolder({ client: owner, folder, onProgress })
    expect(done).toEqual({ files: 4, rewrapped: 4, current: 0, foreign: 0, failed: [] })
    expect(seen).toEqual(seen.map((_, index) => index + 1))
    for (const { dek, path, plaintext } of files) {
      expect(await versionOf(path)).toBe(2)
      expect((await plaintextOf(path, dek)).equals(plaintext)).toBe(true)
    }
    const after = await readFile(files[0]?.path ?? '')
    const length = sealedHeaderLength(before)
    expect(after.subarray(length).equals(before.subarray(length))).toBe(true)
    expect((await openOwnDataset(owner, dataset, datasetId)).parts).toHaveLength(1)
    expect(await rewrapFolder({ client: owner, folder })).toMatchObject({
      rewrapped: 0,
      current: 4,
    })
  })

  it('tells of files that it cannot renew, and goes on with the others', async () => {
    const folder = await newFolder()
    const stranger = await world.enrol()
    const other = await World.start()
    try {
      const { keyId } = await owner.createKey({ mode: 'attested-only' })
      const theirs = await stranger.createKey({ mode: 'open' })
      const disabled = await owner.createKey({ mode: 'open' })
      const elsewhere = await other.enrol()
      const foreign = await elsewhere.createKey({ mode: 'open' })
      const good = await seal(join(folder, 'good'), keyId, 10)
      const altered = await seal(join(folder, 'altered'), keyId, 10)
      const cut = await seal(join(folder, 'cut'), keyId, 10)
      await seal(join(folder, 'disabled'), disabled.keyId, 10)
      await seal(join(folder, 'foreign'), foreign.keyId, 10, elsewhere)
      await seal(join(folder, 'theirs'), theirs.keyId, 10, stranger)
      const bytes = await readFile(altered.path)
      bytes.writeUInt8(bytes.readUInt8(700) ^ 1, 700)
      bytes.writeUInt8(bytes.readUInt8(480) ^ 1, 480)
      await writeFile(altered.path, bytes)
      await writeFile(cut.path, (await readFile(cut.path)).subarray(0, 1000))
      for (const key of [keyId, disabled.keyId]) await owner.rotateKey(key)
      await owner.disableKey(disabled.keyId)
      const done = await rewrapFolder({ client: owner, folder })
      expect(done).toMatchObject({ files: 6, rewrapped: 1, current: 0, foreign: 1 })
      const codes = done.failed.map(({ code, path }) => [path.slice(folder.length + 1), code])
      expect(Object.fromEntries(codes)).toMatchObject({
        altered: expect.stringMatching(/^(SLOT_INVALID|HEADER|LIMIT|TRUNCATED)$/),
        cut: 'TRUNCATED',
        disabled: 'KEY_DISABLED',
        theirs: 'NOT_OWNER',
      })
      expect(await versionOf(good.path)).toBe(2)
      expect((await readFile(altered.path)).equals(bytes)).toBe(true)
    } finally {
      await other.stop()
    }
  })

  it('goes on after kill -9 at a random moment, with every file whole in between', {
    timeout: 300_000,
  }, async () => {
    const folder = await newFolder()
    const { keyId } = await owner.createKey({ mode: 'attested-only' })
    const files = await Promise.all(
      Array.from({ length: 40 }, (_, n) =>
        seal(join(folder, n % 2 === 0 ? `f${n}` : `deep/f${n}`), keyId, 200_000),
      ),
    )
    await owner.rotateKey(keyId)
    const rounds: number[] = []
    for (let round = 0; round < 100; round++) {
      const ended = await killedAfter(folder, 1 + Math.floor(Math.random() * 12))
      const versions = await Promise.all(files.map(({ path }) => versionOf(path)))
      rounds.push(versions.filter(version => version === 2).length)
      for (const { dek, path, plaintext } of files) {
        expect((await plaintextOf(path, dek)).equals(plaintext)).toBe(true)
      }
      if (ended !== undefined) break
    }
    expect(rounds.length).toBeGreaterThan(2)
    expect(rounds).toEqual([...rounds].sort((left, right) => left - right))
    expect(rounds.at(-1)).toBe(files.length)
    const names = await readdir(folder, { recursive: true })
    expect(names.filter(name => name.endsWith('.tmp'))).toEqual([])
  })
})

/** Rewraps in a process of its own, killed soon after so many files; what it did if it got to the end. */
async function killedAfter(folder: string, renewed: number): Promise<object | undefined> {
  const script = fileURLToPath(new URL('./rewrap-process.test.support.js', import.meta.url))
  const options = { pin: world.kms.pin, credential, folder }
  const child = spawn(process.execPath, [script, JSON.stringify(options)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let done: object | undefined
  let seen = 0
  const before = await renewedIn(folder)
  createInterface({ input: child.stdout }).on('line', line => {
    if (line.startsWith('{')) done = JSON.parse(line)
    seen += 1
    if (seen === before + renewed) setTimeout(() => child.kill('SIGKILL'), Math.random() * 15)
  })
  await new Promise(resolve => child.once('close', resolve))
  return done
}

/** Files that come first and are current are passed quickly: to be killed at work, it is let past them. */
async function renewedIn(folder: string): Promise<number> {
  const names = await readdir(folder, { recursive: true, withFileTypes: true })
  let renewed = 0
  for (const entry of names) {
    if (!entry.isFile() || entry.name.endsWith('.tmp')) continue
    renewed += (await versionOf(join(entry.parentPath, entry.name))) === 2 ? 1 : 0
  }
  return renewed
}
