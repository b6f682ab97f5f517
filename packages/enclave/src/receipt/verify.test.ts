import { generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto'
import { createSimPlatform } from '@cloister/attestation'
import { AttestedSession } from '@cloister/kms'
import {
  datasetIdFrom,
  encodeManifest,
  fixedPart,
  type Manifest,
  manifestDigest,
} from '@cloister/sealed'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { RecordingClient } from '../init/recording-client.ts'
import { Scene, World } from '../launcher/world.test.support.ts'
import { encodeReceipt, openReceipt, type ReceiptPayload } from './format.ts'
import { signReceipt } from './sign.ts'
import { type VerifyReceiptOptions, verifyReceipt } from './verify.ts'

let world: World
let receipt: string
let instanceKey: KeyObject
let trusted: VerifyReceiptOptions

/** Plays the instance here, so that the tests hold its signing key and can lie with it. */
beforeAll(async () => {
  world = await World.start()
  const { job } = await Scene.make(world)
  trusted = {
    roots: [world.platform.trustRoot],
    kmsIdentityKeys: [world.kms.pin.identityKey],
  }
  const client = new RecordingClient(world.kms.pin)
  const session = await AttestedSession.attest({
    client,
    tee: 'sim',
    job,
    quoteFor: async reportData =>
      world.platform.quote({
        mrEnclave: Buffer.from(world.image.measurement, 'hex'),
        mrSigner: Buffer.from(world.image.mrSigner, 'hex'),
        ...{ isvProdId: 7, isvSvn: 3, debug: false, reportData },
      }),
  })
  const [input] = job.inputs
  const [output] = job.outputs
  if (input === undefined || output === undefined) throw new Error('the job has both')
  const datasetId = datasetIdFrom(output.datasetId)
  const fixed = fixedPart({ datasetId, part: 0, mediaType: 'text/csv' })
  const digest = randomBytes(32).toString('hex')
  const released = await session.release({
    inputs: new Map(),
    outputs: new Map([[output.datasetId, [{ fileId: fixed.fileId, fixedDigestHex: digest }]]]),
  })
  const manifest: Manifest = {
    ...{ datasetId, version: 1, previous: null, mediaType: 'text/csv' },
    parts: [
      {
        ...{ name: 'part.sealed', fileId: fixed.fileId, fixedDigest: digest, length: 5000 },
        ...{ lastTag: randomBytes(16).toString('hex'), rows: 2 },
      },
    ],
  }
  const next = { version: 1, manifestDigest: manifestDigest(encodeManifest(manifest)) }
  const { statementJws } = await session.commitHeads([{ datasetId, expected: null, next }])
  expect(released.heads.get(output.datasetId)).toBeNull()
  instanceKey = session.signKey
  const head = await world.owner.getHead(input.datasetId)
  if (head === null) throw new Error('the input has a head')
  receipt = await signReceipt({
    ...{ session, requests: client.requests(), statement: statementJws },
    inputs: [{ name: input.name, head }],
    outputs: [{ name: output.name, manifest, manifestDigest: next.manifestDigest }],
    statistics: { lines: 2 },
  })
  client.close()
})

afterAll(async () => {
  await world.stop()
})

/** The code that a receipt is refused with; `undefined` for one that is believed. */
async function refusal(jws: string, options = trusted): Promise<string | undefined> {
  return await verifyReceipt(jws, options).then(
    () => undefined,
    (error: unknown) => {
      if (error instanceof Error && error.name === 'ReceiptError' && 'code' in error) {
        return String(error.code)
      }
      throw error
    },
  )
}

type Json = null | boolean | number | string | Json[] | { [name: string]: Json }

/** Every leaf of a value, by its path. */
function leavesOf(value: Json, path: readonly string[] = []): readonly (readonly string[])[] {
  if (value === null || typeof value !== 'object') return [path]
  return Object.entries(value).flatMap(([name, member]) => leavesOf(member, [...path, name]))
}

/** The value with one leaf altered, within its type and as little as can be. */
function altered(value: Json, [name, ...rest]: readonly string[]): Json {
  if (name === undefined) {
    if (typeof value === 'number') return value + 1
    if (typeof value !== 'string') return 7
    const at = Math.floor(value.length / 2)
    const other = value[at] === 'a' ? 'b' : 'a'
    return `${value.slice(0, at)}${other}${value.slice(at + 1)}`
  }
  if (Array.isArray(value)) {
    return value.map((member, index) => (`${index}` === name ? altered(member, rest) : member))
  }
  const members = value as Record<string, Json>
  return { ...members, [name]: altered(members[name] ?? null, rest) }
}

describe('a receipt', () => {
  it('verifies offline and says what ran', async () => {
    const summary = await verifyReceipt(receipt, trusted)
    expect(summary).toMatchObject({
      ...{ tee: 'sim', debug: false, isvProdId: 7, isvSvn: 3, tcbStatus: 'UpToDate' },
      measurement: world.image.measurement,
      mrSigner: world.image.mrSigner,
      outputs: [{ name: 'result', version: 1, rows: 2 }],
      statistics: { lines: 2 },
    })
    expect(summary.completedAt.getTime()).toBeGreaterThanOrEqual(summary.attestedAt.getTime())
  })

  it('is refused with any one character changed', async () => {
    const step = Math.max(1, Math.floor(receipt.length / 300))
    for (let at = 0; at < receipt.length; at += step) {
      const other = receipt[at] === 'A' ? 'B' : 'A'
      const changed = `${receipt.slice(0, at)}${other}${receipt.slice(at + 1)}`
      expect(await refusal(changed), `character ${at}`).toMatch(/^(FORMAT|SIGNATURE)$/)
    }
    for (const text of ['', '.', '..', receipt.slice(0, -1), `${receipt}=`, ` ${receipt}`]) {
      expect(await refusal(text)).toBe('FORMAT')
    }
  })

  it('is refused when anybody else signs it, altered or not', async () => {
    const { payload } = await openReceipt(receipt)
    const other = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
    expect(await refusal(await encodeReceipt(payload, other))).toBe('TOKEN')
  })

  it('is refused with any field altered, even by the instance, but for what is its own word', async () => {
    const { payload } = await openReceipt(receipt)
    const believed: string[] = []
    for (const path of leavesOf(payload as unknown as Json)) {
      const changed = altered(payload as unknown as Json, path) as unknown as ReceiptPayload
      const code = await refusal(await encodeReceipt(changed, instanceKey))
      if (code === undefined) believed.push(path.join('.'))
    }
    expect(believed.sort()).toEqual([
      'inputs.0.manifestDigest',
      'inputs.0.writerKey',
      'outputs.0.rows',
      'statistics.lines',
    ])
  })

  it('is refused with a field more or less', async () => {
    const { payload } = await openReceipt(receipt)
    const more = { ...payload, more: 1 } as unknown as ReceiptPayload
    expect(await refusal(await encodeReceipt(more, instanceKey))).toBe('FORMAT')
    for (const name of Object.keys(payload)) {
      const { [name as keyof ReceiptPayload]: _, ...less } = payload
      const jws = await encodeReceipt(less as unknown as ReceiptPayload, instanceKey)
      expect(await refusal(jws)).toMatch(/^(FORMAT|JOB|EVIDENCE)$/)
    }
  })

  it('is refused by whoever pins another root or knows another key service', async () => {
    const other = createSimPlatform({ createdAt: new Date(0) })
    expect(await refusal(receipt, { ...trusted, roots: [] })).toBe('EVIDENCE')
    expect(await refusal(receipt, { ...trusted, roots: [other.trustRoot] })).toBe('EVIDENCE')
    expect(await refusal(receipt, { ...trusted, kmsIdentityKeys: [] })).toBe('KMS')
  })
})
