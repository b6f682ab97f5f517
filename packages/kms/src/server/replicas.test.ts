import { constants, publicEncrypt, randomBytes, randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { reportDataFor } from '@cloister/attestation'
import { newDatasetId } from '@cloister/sealed'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { AttestedSession } from '../client/attested-session.ts'
import { KmsClient } from '../client/kms-client.ts'
import { verifyLogExport } from '../client/log-export/verify.ts'
import { exportLog } from '../client/log-export/write.ts'
import { LogFolder } from '../client/log-folder.ts'
import { followLog } from '../client/log-history.ts'
import { fromBase64Url, sha256, toBase64Url, toHex } from '../protocol/encoding.ts'
import { KmsError } from '../protocol/errors.ts'
import { type JobStatement, jobDigest } from '../protocol/job-statement.ts'
import { JWS_TYPES, signJws } from '../protocol/jws.ts'
import type { ReleaseTemplate } from '../protocol/messages/policies.ts'
import { encodePublicKey } from '../protocol/public-key.ts'
import { slotToJson } from '../protocol/slot.ts'
import { EhsmTestClient, exchange } from './ehsm/client.test.support.ts'
import { allow, enclaveOf, newKey, sealPart } from './flow.test.support.ts'
import { startReplicas, type TestReplicas } from './replicas.test.fixture.ts'
import { POSTGRES_BIN, POSTGRES_MISSING, PostgresServer } from './store/postgres.test.fixture.ts'
import { STALENESS_MS } from './store/transaction.ts'

const ROUNDS = process.env['SLOW'] === '1' ? 100 : 10

let server: PostgresServer

const digest = () => randomBytes(32).toString('hex')
const pause = (milliseconds: number) => new Promise(resolve => setTimeout(resolve, milliseconds))

const ends: (() => void | Promise<void>)[] = []
let replicas: TestReplicas
/** A client of each replica, without a credential. */
let anyone: readonly [KmsClient, KmsClient]
/** A client of each replica, of one account. */
let owners: readonly [KmsClient, KmsClient]
let credential: string

function clients(credential?: string): readonly [KmsClient, KmsClient] {
  const [one, two] = replicas.pins.map(
    pin => new KmsClient(pin, credential === undefined ? {} : { credential }),
  )
  if (one === undefined || two === undefined) throw new Error('there are two replicas')
  ends.push(
    () => one.close(),
    () => two.close(),
  )
  return [one, two]
}

const tokenOf = (index: number) =>
  readFile(join(replicas.dataDirs[index] ?? '', 'enrolment-token'), 'utf8')

/** An eHSM account's clients, one of each replica. */
async function ehsmClients(): Promise<readonly [EhsmTestClient, EhsmTestClient]> {
  const [first, second] = replicas.pins
  if (first === undefined || second === undefined) throw new Error('there are two replicas')
  const client = await EhsmTestClient.enroll(first)
  return [client, new EhsmTestClient(second, client.appId, client.apiKey)]
}

/** Sends the same to both replicas at once; gives the codes of those that were refused. */
async function race(both: readonly (() => Promise<unknown>)[]): Promise<readonly string[]> {
  const ends = await Promise.allSettled(both.map(send => send()))
  return ends.map(end => {
    if (end.status === 'fulfilled') return 'ok'
    return end.reason instanceof KmsError ? end.reason.code : String(end.reason)
  })
}

function expectOne(codes: readonly string[], refusal: string): void {
  expect([...codes].sort()).toEqual([refusal, 'ok'].sort())
}

describe.skipIf(POSTGRES_BIN === undefined)(`two replicas${POSTGRES_MISSING}`, () => {
  beforeAll(async () => {
    server = await PostgresServer.start()
    replicas = await startReplicas(server.createDatabase(), 2, {
      ehsm: { openEnrolment: true, openKeys: true },
      atEnd: work => ends.push(work),
    })
    anyone = clients()
    ;({ credential } = await anyone[0].enrol(await tokenOf(0)))
    owners = clients(credential)
  })

  afterAll(async () => {
    for (const end of ends.reverse()) await end()
    await server.remove()
  })

  it('are one key service: what one did, the other goes on with', async () => {
    const [one, two] = clients(credential)
    const withoutUrl = replicas.pins.map(pin => ({ ...pin, url: '' }))
    expect(withoutUrl[1]).toEqual(withoutUrl[0])
    const { keyId } = await one.createKey({ mode: 'attested-only' })
    expect((await two.listKeys()).map(key => key.keyId)).toContain(keyId)
    const datasetId = newDatasetId()
    const part = await sealPart(two, keyId, datasetId)
    const head = { version: 1, manifestDigest: digest(), writerKey: encodePublicKey(newKey()) }
    await one.moveHead(datasetId, null, head)
    const job: JobStatement = {
      version: 1,
      measurement: digest(),
      command: { kind: 'exec', argv: ['/bin/true'] },
      environment: {},
      inputs: [{ name: 'people', datasetId, version: 1, format: 'csv' }],
      outputs: [],
      resources: { memoryMiB: 64 },
      kms: [one.pin.identityKey],
    }
    await allow(two, keyId, job)
    const quoteFor = async (reportData: Uint8Array) =>
      replicas.platform.quote({ ...enclaveOf(job.measurement), reportData })
    const session = await AttestedSession.attest({ client: one, tee: 'sim', job, quoteFor })
    one.release = jws => two.release(jws)
    const parts = { inputs: new Map([[datasetId, [part]]]), outputs: new Map() }
    const released = await session.release(parts)
    expect(released.inputs.get(part.fileId)?.exposeBytes()).toEqual(part.dek.exposeBytes())
    await two.disableKey(keyId)
    await expect(session.release(parts)).rejects.toMatchObject({ code: 'RELEASE_DENIED' })
  })

  it('let one of two have a challenge, a release and a head', { timeout: 240_000 }, async () => {
    const [one] = owners
    const { keyId } = await one.createKey({ mode: 'attested-only' })
    const datasetId = newDatasetId()
    const part = await sealPart(one, keyId, datasetId)
    const writerKey = encodePublicKey(newKey())
    await one.moveHead(datasetId, null, { version: 1, manifestDigest: digest(), writerKey })
    const job: JobStatement = {
      version: 1,
      measurement: digest(),
      command: { kind: 'exec', argv: ['/bin/true'] },
      environment: {},
      inputs: [{ name: 'people', datasetId, version: 1, format: 'csv' }],
      outputs: [],
      resources: { memoryMiB: 64 },
      kms: [one.pin.identityKey],
    }
    await allow(one, keyId, job)
    for (let round = 0; round < ROUNDS; round++) {
      const [issuer] = anyone
      const challenge = await issuer.challenge()
      const signingKey = newKey()
      const keys = { receiveKey: encodePublicKey(newKey()), signKey: encodePublicKey(signingKey) }
      const reportData = reportDataFor({
        protocol: 'cloister/attest-release',
        version: 1,
        tee: 'sim',
        kmsId: one.pin.kmsId,
        challenge: fromBase64Url('challenge', challenge),
        receiveKey: fromBase64Url('key', keys.receiveKey),
        signKey: fromBase64Url('key', keys.signKey),
        jobDigest: jobDigest(job),
      })
      const quote = replicas.platform.quote({ ...enclaveOf(job.measurement), reportData })
      const evidence = { challenge, tee: 'sim' as const, quote: toBase64Url(quote), job, ...keys }
      const tokens: string[] = []
      const attests = anyone.map(client => async () => {
        tokens.push((await client.attest(evidence)).token)
      })
      expectOne(await race(attests), 'CHALLENGE_USED')
      const [token = ''] = tokens
      const { fileId, fixedDigestHex, slot } = part
      const inputs = [{ datasetId, parts: [{ fileId, fixedDigestHex, slot: slotToJson(slot) }] }]
      const request = {
        kmsId: one.pin.kmsId,
        token,
        jti: randomUUID(),
        job,
        receiveKey: keys.receiveKey,
        quoteDigestHex: toHex(sha256(quote)),
        inputs,
        outputs: [],
      }
      const jws = await signJws(JWS_TYPES.release, request, signingKey)
      const releases = anyone.map(client => () => client.release(jws))
      expectOne(await race(releases), 'REQUEST_REPLAYED')
      const before = await one.getHead(datasetId)
      const moves = owners.map(owner => () => {
        const version = (before?.version ?? 0) + 1
        return owner.moveHead(datasetId, before, { version, manifestDigest: digest(), writerKey })
      })
      expectOne(await race(moves), 'HEAD_CONFLICT')
      // The job's input is where it was, for the next round.
      job.inputs.splice(0, 1, {
        name: 'people',
        datasetId,
        version: (before?.version ?? 0) + 1,
        format: 'csv',
      })
      await allow(one, keyId, job)
    }
  })

  it('let one of two have the enrolment token, and both show the next', async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const token = await tokenOf(0)
      const enrolments = anyone.map(client => () => client.enrol(token))
      expectOne(await race(enrolments), 'ENROLMENT_REFUSED')
      await expect
        .poll(async () => [await tokenOf(0), await tokenOf(1)], {
          timeout: 10_000,
        })
        .toSatisfy(([left, right]) => left === right && left !== token)
    }
  })

  it('let one of two replace the operator’s token, and both show it', async () => {
    const shown = () =>
      Promise.all(replicas.dataDirs.map(dir => readFile(join(dir, 'operator-token'), 'utf8')))
    for (let round = 0; round < ROUNDS; round++) {
      const [before = ''] = await shown()
      const both = clients(before).map(({ operator }) => operator)
      await Promise.all(both.map(operator => operator.tenants()))
      const codes = await race(both.map(operator => () => operator.rotateToken('operator')))
      expectOne(codes, 'UNAUTHENTICATED')
      // Neither of what it asked for after that is done: not at the other one either.
      const late = await race(both.map(operator => () => operator.createTenant('late')))
      expect(late).toEqual(['UNAUTHENTICATED', 'UNAUTHENTICATED'])
      await expect
        .poll(shown, { timeout: 10_000 })
        .toSatisfy(([left, right]) => left === right && left !== before)
    }
  })

  it('take a new eHSM API key at once, whichever gave it', async () => {
    let [client, other] = await ehsmClients()
    for (let round = 0; round < ROUNDS; round++) {
      // The other knows the account as it was.
      expect((await other.call('ListKey')).envelope.code).toBe(200)
      const { result } = (await client.call('RotateApiKey', { overlap: 0 })).envelope
      const apiKey = String(result['apikey'])
      const next = [client, other].map(({ appId, pin }) => new EhsmTestClient(pin, appId, apiKey))
      other = next[0] ?? other
      client = next[1] ?? client
      expect((await client.call('ListKey')).envelope).toMatchObject({ code: 200 })
    }
  })

  it('let one of two take an eHSM request, and use an import token', async () => {
    const [client] = await ehsmClients()
    const codesOf = async (action: string, body: () => string) => {
      const same = body()
      const answers = replicas.pins.map(pin => exchange(pin, 'POST', action, same))
      return (await Promise.all(answers)).map(({ envelope }) => envelope.code).sort()
    }
    for (let round = 0; round < 2 * ROUNDS; round++) {
      expect(await codesOf('ListKey', () => client.signed())).toEqual([200, 400])
    }
    for (let round = 0; round < ROUNDS; round++) {
      const keyid = await client.createKey('EH_AES_GCM_256', { origin: 'EH_EXTERNAL_KEY' })
      const asked = { keyid, keyspec: 'EH_RSA_2048' }
      const { envelope } = await client.call('GetParametersForImport', asked)
      const { importToken, pubkey } = envelope.result
      const oaep = { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' }
      const wrapped = publicEncrypt({ key: String(pubkey), ...oaep }, randomBytes(32))
      const key_material = wrapped.toString('base64')
      const payload = { keyid, key_material, padding_mode: 'EH_RSA_PKCS1_OAEP', importToken }
      // Two requests, one token.
      const imports = replicas.pins.map(pin =>
        exchange(pin, 'POST', 'ImportKeyMaterial', client.signed(payload)),
      )
      const codes = (await Promise.all(imports)).map(({ envelope }) => envelope.code)
      expect([round, ...codes.sort()]).toEqual([round, 200, 500])
    }
  })

  it('write for an eHSM key by what it is then, whatever they knew of it', async () => {
    const [client, other] = await ehsmClients()
    for (let round = 0; round < ROUNDS / 4; round++) {
      const keyid = await client.createKey('EH_AES_GCM_256', { origin: 'EH_EXTERNAL_KEY' })
      const parametersOf = async (from: EhsmTestClient) => {
        const asked = { keyid, keyspec: 'EH_RSA_2048' }
        return (await from.call('GetParametersForImport', asked)).envelope.result
      }
      const importAt = async (at: EhsmTestClient, parameters: Record<string, unknown>) => {
        const { importToken, pubkey } = parameters
        const oaep = { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' }
        const wrapped = publicEncrypt({ key: String(pubkey), ...oaep }, randomBytes(32))
        const key_material = wrapped.toString('base64')
        const payload = { keyid, key_material, padding_mode: 'EH_RSA_PKCS1_OAEP', importToken }
        return (await at.call('ImportKeyMaterial', payload)).envelope.code
      }
      const first = await parametersOf(client)
      // The other has read the key, without material.
      await parametersOf(other)
      expect(await importAt(client, first)).toBe(500)
      const second = await parametersOf(client)
      expect(await importAt(client, second)).toBe(200)
      // What is encrypted under it by now must stay so: a newer token changes nothing.
      const third = await parametersOf(other)
      expect(await importAt(other, third)).toBe(500)
      await client.call('DisableKey', { keyid })
      const secret = { secretName: `s ${round}`, secretData: 'x', encryptionKeyId: keyid }
      expect((await other.call('CreateSecret', secret)).envelope.code).not.toBe(200)
    }
  })

  it('hold to the limit of a policy together, and to what one withdrew or revoked', {
    timeout: 120_000,
  }, async () => {
    const [one, two] = clients(credential)
    for (let round = 0; round < ROUNDS / 5; round++) {
      const { keyId } = await one.createKey({ mode: 'attested-only' })
      const datasetId = newDatasetId()
      const part = await sealPart(two, keyId, datasetId)
      const head = { version: 1, manifestDigest: digest(), writerKey: encodePublicKey(newKey()) }
      await one.moveHead(datasetId, null, head)
      const job: JobStatement = {
        version: 1,
        measurement: digest(),
        command: { kind: 'exec', argv: ['/bin/true'] },
        environment: {},
        inputs: [{ name: 'people', datasetId, version: 1, format: 'csv' }],
        outputs: [],
        resources: { memoryMiB: 64 },
        kms: [one.pin.identityKey],
      }
      const template: ReleaseTemplate = {
        keyId,
        images: [{ measurement: job.measurement }],
        jobDigests: [toHex(jobDigest(job))],
        tees: ['sim'],
        tcbStatuses: ['UpToDate'],
        maxReleases: 3,
      }
      const { policyId } = await one.addPolicy({ template })
      const quoteFor = async (reportData: Uint8Array) =>
        replicas.platform.quote({ ...enclaveOf(job.measurement), reportData })
      const attest = (client: KmsClient) =>
        AttestedSession.attest({ client, tee: 'sim', job, quoteFor })
      const parts = { inputs: new Map([[datasetId, [part]]]), outputs: new Map() }
      const sessions = await Promise.all(
        [0, 1, 2, 3, 4, 5, 6, 7].map(n => attest([one, two][n % 2] ?? one)),
      )
      const codes = await race(sessions.map(session => () => session.release(parts)))
      expect([...codes].sort()).toEqual([
        ...Array.from({ length: 5 }, () => 'RELEASE_DENIED'),
        ...['ok', 'ok', 'ok'],
      ])
      for (const client of [one, two]) {
        const own = (await client.listPolicies()).find(policy => policy.policyId === policyId)
        expect(own).toMatchObject({ releases: 3 })
      }
      const { maxReleases: _limit, ...unlimited } = template
      await two.addPolicy({ template: unlimited })
      await sessions[0]?.release(parts)
      await two.withdrawals.withdraw({ kind: 'measurement', value: job.measurement })
      await expect(sessions[0]?.release(parts)).rejects.toMatchObject({ code: 'RELEASE_DENIED' })
    }
    const { credential: other, description } = await one.accounts.createCredential({
      name: 'other',
      kind: 'bearer',
      scopes: ['keys:manage'],
    })
    const [first, second] = clients(other ?? '')
    await first.createKey({ mode: 'open' })
    await second.createKey({ mode: 'open' })
    await one.accounts.revokeCredential(description.credentialId)
    await expect(second.createKey({ mode: 'open' })).rejects.toMatchObject({
      code: 'UNAUTHENTICATED',
    })
  })

  it('write one log without fork or gap', { timeout: 120_000 }, async () => {
    const keys = await Promise.all(
      Array.from({ length: 8 * ROUNDS }, (_, n) =>
        owners[n % 2 === 0 ? 0 : 1].createKey({ mode: 'open', alias: `key ${n}` }),
      ),
    )
    const memory = new LogFolder(join(replicas.folder, 'checkpoints'))
    const seen: number[] = []
    for (let n = 0; n < 6; n++) {
      await owners[n % 2 === 0 ? 0 : 1].createKey({ mode: 'open' })
      const { size } = await followLog(owners[n % 2 === 0 ? 1 : 0], memory)
      seen.push(size)
    }
    expect(seen).toEqual(seen.map((_, n) => (seen[0] ?? 0) + n))
    const texts = await Promise.all(
      owners.map(async owner => {
        let text = ''
        for await (const line of exportLog(owner)) text += line
        return text
      }),
    )
    for (const text of texts) {
      const source = (async function* () {
        yield new TextEncoder().encode(text)
      })()
      const verdict = await verifyLogExport(source, { pin: owners[0].pin })
      expect(verdict).toMatchObject({ verdict: 'intact', findings: [], size: seen.at(-1) })
    }
    const created = (await owners[0].audit()).filter(
      ({ entry }) => entry['action'] === 'create-key',
    )
    const ids = new Set(created.map(({ entry }) => entry['keyId']))
    expect(keys.filter(({ keyId }) => !ids.has(keyId))).toEqual([])
  })

  it('stop using a key within the time said, whichever it was disabled at', async () => {
    const [client, other] = await ehsmClients()
    const keyid = await client.createKey('EH_AES_GCM_128')
    const payload = { keyid, plaintext: Buffer.from('plain').toString('base64') }
    expect((await other.call('Encrypt', payload)).envelope.code).toBe(200)
    await client.call('DisableKey', { keyid })
    await pause(STALENESS_MS)
    expect((await other.call('Encrypt', payload)).envelope.message).toBe('keyid is disabled')
    await other.call('EnableKey', { keyid })
    await pause(STALENESS_MS)
    expect((await client.call('Encrypt', payload)).envelope.code).toBe(200)
  })
})
