import { spawnSync } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { EhsmTestClient } from '../ehsm/client.test.support.ts'
import { refused, Scene, World } from '../flow.test.support.ts'
import { rawCall } from '../http/raw-call.test.support.ts'
import { ENROLMENT_FILE } from '../identity/stored-token.ts'
import { Metrics } from './metrics.ts'

/** A Python that has prometheus_client; .ci/install makes one. */
const PYTHON = process.env['CLOISTER_PYTHON']
const READER = fileURLToPath(new URL('../../../test/metrics/read_metrics.py', import.meta.url))

interface Family {
  readonly type: string
  readonly samples: readonly {
    readonly name: string
    readonly labels: Readonly<Record<string, string>>
    readonly value: number
  }[]
}

let world: World
let url: string

beforeAll(async () => {
  world = await World.start({
    ehsm: { openEnrolment: true, openKeys: true },
    metrics: { port: 0 },
  })
  url = world.kms.metricsUrl ?? ''
})

afterAll(() => world.stop())

const scraped = async () => await (await fetch(url)).text()

/** A sample's value, by what it is written as. */
function valueIn(text: string, sample: string): number | undefined {
  const line = text.split('\n').find(each => each.startsWith(`${sample} `))
  return line === undefined ? undefined : Number(line.slice(sample.length))
}

describe('the metrics of a key service', () => {
  const secrets: string[] = []

  beforeAll(async () => {
    const scene = await Scene.make(world)
    const session = await scene.attest()
    await session.release(scene.parts())
    await world.client().challenge()
    await scene.owner.disableKey(scene.keyId)
    await refused(session.release(scene.parts()), 'RELEASE_DENIED')
    const { account, credential } = await scene.owner.accounts.self()
    const client = await EhsmTestClient.enroll(world.kms.pin)
    const keyid = await client.createKey('EH_AES_GCM_256')
    await client.call('Encrypt', { keyid, plaintext: 'c2VjcmV0' })
    const wrong = 'wrong-credential-of-32-characters'
    for (const path of [
      '/v1/keys',
      '/v1/secret-in-a-path',
      '/v1/keys/secret-id',
      '/ehsm?Action=x1',
    ]) {
      await rawCall(world.kms.pin, { method: 'GET', path, credential: wrong })
    }
    secrets.push(account.accountId, credential.credentialId, scene.keyId, client.appId, keyid)
    secrets.push(client.apiKey, wrong, 'secret', 'x1', '127.0.0.1', scene.inputId)
    secrets.push(await readFile(join(world.folder, 'kms', ENROLMENT_FILE), 'utf8'))
    secrets.push(await world.operatorToken(), world.kms.pin.kmsId, session.evidence.token)
  })

  it('count requests by operation, answers by code, denials by ground, and releases', async () => {
    const text = await scraped()
    expect(valueIn(text, 'cloister_answers_total{action="Release",code="OK"}')).toBe(1)
    expect(valueIn(text, 'cloister_answers_total{action="Release",code="RELEASE_DENIED"}')).toBe(1)
    expect(valueIn(text, 'cloister_denials_total{reason="KEY_DISABLED"}')).toBe(2)
    expect(valueIn(text, 'cloister_denials_total{reason="UNAUTHENTICATED"}')).toBe(2)
    expect(valueIn(text, 'cloister_releases_total')).toBe(1)
    expect(valueIn(text, 'cloister_released_keys_total')).toBe(2)
    expect(valueIn(text, 'cloister_answers_total{action="ehsm.Encrypt",code="200"}')).toBe(1)
    expect(valueIn(text, 'cloister_answers_total{action="ehsm.unknown",code="400"}')).toBe(1)
    expect(valueIn(text, 'cloister_answers_total{action="unknown",code="NOT_FOUND"}')).toBe(1)
    expect(valueIn(text, 'cloister_request_seconds_count{action="Attest"}')).toBe(1)
    expect(valueIn(text, 'cloister_challenges_outstanding')).toBe(1)
    expect(valueIn(text, 'cloister_audit_rows_waiting')).toBeGreaterThan(0)
    expect(valueIn(text, 'cloister_ready')).toBe(1)
    expect(valueIn(text, 'cloister_store_seconds_count{kind="write"}')).toBeGreaterThan(5)
    expect(valueIn(text, 'cloister_store_seconds_count{kind="read"}')).toBeGreaterThan(0)
    expect(valueIn(text, 'cloister_store_writes_waiting')).toBe(0)
    expect(valueIn(text, 'cloister_row_cache_rows')).toBeGreaterThan(0)
    expect(valueIn(text, 'cloister_row_cache_lookups_total{result="hit"}')).toBeGreaterThan(0)
    expect(valueIn(text, 'process_resident_memory_bytes')).toBeGreaterThan(1e7)
  })

  it('say each weak switch, on or off', async () => {
    const text = await scraped()
    for (const name of ['ehsm-open-enrolment', 'ehsm-open-keys', 'simulated-platform']) {
      expect(valueIn(text, `cloister_weak_switch{switch="${name}"}`)).toBe(1)
    }
    expect(valueIn(text, 'cloister_weak_switch{switch="unchecked-revocation"}')).toBe(0)
    expect(valueIn(text, 'cloister_weak_switch{switch="public-metrics"}')).toBe(0)
  })

  it('hold no secret, id or address', async () => {
    const text = await scraped()
    expect(secrets.length).toBeGreaterThan(10)
    for (const secret of secrets) expect(text).not.toContain(secret)
    // Nothing in a label that could be an id of anything.
    const labels = [...text.matchAll(/="([^"]*)"/g)].map(([, value = '']) => value)
    expect(labels.filter(value => /[0-9a-f]{8}|\d+\.\d+\.\d+\.\d+/.test(value))).toEqual([])
  })

  it('are on no route of the key service, and nothing else is on their port', async () => {
    const path = '/metrics'
    expect((await rawCall(world.kms.pin, { method: 'GET', path })).status).toBe(404)
    const { hostname, origin } = new URL(url)
    expect(hostname).toBe('127.0.0.1')
    for (const other of ['/', '/v1/kms', '/readyz', '/metrics/../v1/keys']) {
      expect((await fetch(origin + other)).status).toBe(404)
    }
    expect((await fetch(url, { method: 'POST' })).status).toBe(404)
  })

  it.skipIf(PYTHON === undefined)(
    'are read by Prometheus’s own client (skipped unless CLOISTER_PYTHON is set)',
    async () => {
      const read = spawnSync(PYTHON ?? '', ['-B', READER], { input: await scraped() })
      expect(read.stderr.toString()).toBe('')
      const families: Readonly<Record<string, Family>> = JSON.parse(read.stdout.toString())
      expect(families['cloister_request_seconds']?.type).toBe('histogram')
      expect(families['cloister_answers']?.type).toBe('counter')
      expect(families['cloister_weak_switch']?.type).toBe('gauge')
      const buckets = (families['cloister_request_seconds']?.samples ?? []).filter(
        ({ labels, name }) => name.endsWith('_bucket') && labels['action'] === 'Release',
      )
      expect(buckets.at(-1)).toMatchObject({ labels: { le: '+Inf' }, value: 2 })
      for (const [name, { samples }] of Object.entries(families)) {
        if (name.startsWith('cloister_')) expect(samples.length, name).toBeGreaterThan(0)
      }
    },
  )
})

describe('labels', () => {
  it('stay few, whatever a ground of refusal is called', async () => {
    const metrics = new Metrics()
    for (let count = 0; count < 2000; count++) {
      const reasons = [`REASON_${count}`, `not a code ${count}`]
      metrics.answered({ action: 'Release', code: 'RELEASE_DENIED', reasons }, 0.01)
    }
    const { text } = await metrics.text()
    const kinds = text.split('\n').filter(line => line.startsWith('cloister_denials_total{'))
    expect(kinds.length).toBeLessThanOrEqual(301)
    expect(text).not.toContain('not a code')
  })
})
