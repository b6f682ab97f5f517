import { spawn, spawnSync } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { dek, newFolder } from './fixture.test.support.ts'
import type { DatasetHead, Expectation } from './head.ts'
import { openDataset, openPart } from './open.ts'

const modules = new URL('.', import.meta.url).href

// What both children begin with: one key, one folder, and a dataset in it.
const prelude = `
import { createPrivateKey, createPublicKey, randomBytes, sign } from 'node:crypto'
import { closeSync, openSync, readdirSync, rmSync, writeSync } from 'node:fs'
import { dek, slot, codeOf, readAll, writeVersion } from '${modules}fixture.test.support.js'
import { openDataset } from '${modules}open.js'
import { createDatasetWriter } from '${modules}write.js'
const [folder, key] = process.argv.slice(1)
const privateKey = createPrivateKey(Buffer.from(key, 'base64url').toString())
const writer = {
  writerKey: createPublicKey(privateKey).export({ format: 'der', type: 'spki' }),
  sign: bytes => sign('sha256', bytes, { key: privateKey, dsaEncoding: 'ieee-p1363' }),
}
const print = value => writeSync(1, JSON.stringify(value) + '\\n')
const at = head => ({ kind: 'head', head })
const options = { mediaType: 'text/csv', dek, slots: [slot] }
`

// Versions without end, each of them larger than a write; says each head once it is committed.
const endless = `${prelude}
let head = await writeVersion({ folder, writer, contents: [randomBytes(1000)] })
for (;;) {
  print(head)
  const base = await openDataset(folder, at(head))
  head = await writeVersion({
    folder, writer, base, keep: base.parts.slice(0, 1), contents: [randomBytes(200_000)],
  })
}
`

const full = `${prelude}
const fill = () => {
  const file = openSync(folder + '/filler', 'w')
  try {
    for (;;) writeSync(file, Buffer.alloc(4096))
  } catch (error) {
    if (error.code !== 'ENOSPC') throw error
  } finally {
    closeSync(file)
  }
}
const head = await writeVersion({ folder, writer, contents: [randomBytes(1000)] })
const before = readdirSync(folder)
const base = await openDataset(folder, at(head))
const begin = () =>
  createDatasetWriter({
    folder, datasetId: head.datasetId, mediaType: 'text/csv', keep: base.parts,
  })
const version = { version: 2, previous: head.manifestDigest, ...writer }

const large = begin()
const part = await large.newPart(options)
const write = await codeOf(async () => {
  for (;;) await part.write(randomBytes(100_000))
})
const close = await codeOf(() => part.close(null).catch(() => {}))
const commit = await codeOf(() => large.commit(version))
const during = readdirSync(folder).filter(name => !before.includes(name))
await large.abort()
const afterAbort = readdirSync(folder)

fill()
const header = await codeOf(() => begin().newPart(options))
const small = begin()
const manifest = await codeOf(() => small.commit(version))
const afterFull = readdirSync(folder).filter(name => name !== 'filler')
const readable = (await readAll(await openDataset(folder, at(head)))).map(bytes => bytes.length)
rmSync(folder + '/filler')
const again = (await small.commit(version)).version
print({
  before, write, close, commit, during, afterAbort, header, manifest, afterFull, readable, again,
})
`

/** Runs a shell script in a mount namespace of its own, with `args` as `$1` and so on. */
function inNamespace(script: string, ...args: readonly string[]) {
  const command = 'unshare'
  return spawnSync(command, ['-r', '-m', 'sh', '-ec', script, 'sh', ...args], { encoding: 'utf8' })
}

const mount = 'mount -t tmpfs -o size=1m tmpfs "$1"'
const canMount = process.platform === 'linux' && inNamespace(mount, tmpdir()).status === 0

const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const pem = privateKey.export({ format: 'pem', type: 'pkcs8' }).toString()
const key = Buffer.from(pem).toString('base64url')
let folder = ''

beforeEach(async () => {
  folder = await newFolder()
})
afterEach(() => rm(folder, { recursive: true, force: true }))

/** Runs the endless writer, kills it after `delay` ms, and returns the last head that it said. */
async function killedAfter(delay: number): Promise<DatasetHead> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', endless, folder, key], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const exit = once(child, 'close')
  let said = ''
  child.stdout.setEncoding('utf8')
  child.stdout.on('data', (text: string) => {
    said += text
  })
  await once(child.stdout, 'data')
  await new Promise(resolve => setTimeout(resolve, delay))
  child.kill('SIGKILL')
  const [, signal] = await exit
  expect(signal).toBe('SIGKILL')
  const lines = said.slice(0, said.lastIndexOf('\n')).split('\n')
  return JSON.parse(lines.at(-1) ?? '') as DatasetHead
}

describe('a writer that is killed', () => {
  it('leaves a version that can be read, and no unfinished file under a final name', async () => {
    let unfinished = 0
    for (let round = 0; round < 12; round += 1) {
      await rm(folder, { recursive: true })
      folder = await newFolder()
      const said = await killedAfter(round * 7 + Math.random() * 7)
      const { datasetId, writerKey } = said
      const expectation: Expectation = { kind: 'unchecked-freshness', datasetId, writerKey }
      const dataset = await openDataset(folder, expectation)
      // Killed between the rename and the print, it had committed one more than it said.
      const { version } = dataset.manifest
      expect([said.version, said.version + 1]).toContain(version)
      if (version === said.version) expect(dataset.manifestDigest).toBe(said.manifestDigest)
      for (const part of dataset.parts) {
        const reader = await openPart(part, dek)
        for await (const piece of reader.stream()) expect(piece.length).toBeGreaterThan(0)
        await reader.close()
      }
      const names = await readdir(folder)
      unfinished += names.filter(name => name.endsWith('.tmp')).length
      for (const name of names.filter(part => part.startsWith('part-'))) {
        const bytes = await readFile(join(folder, name))
        expect([5216, 217480]).toContain(bytes.length)
      }
    }
    expect(unfinished).toBeGreaterThan(0)
  })
})

describe('a full disk', () => {
  it.skipIf(!canMount)(
    'gives a coded error and leaves what was there (skipped where no tmpfs can be mounted)',
    () => {
      const script = `${mount}; exec "$2" --input-type=module -e "$3" "$1" "$4"`
      const { status, stdout, stderr } = inNamespace(script, folder, process.execPath, full, key)
      expect(status, stderr).toBe(0)
      const seen = JSON.parse(stdout)
      expect(seen).toMatchObject({
        write: 'NO_SPACE',
        commit: 'WRITER_STATE',
        afterAbort: seen.before,
        header: 'NO_SPACE',
        manifest: 'NO_SPACE',
        afterFull: seen.before,
        readable: [1000],
        again: 2,
      })
      expect(seen.during).toEqual([expect.stringMatching(/^\..*\.tmp$/)])
    },
  )
})
