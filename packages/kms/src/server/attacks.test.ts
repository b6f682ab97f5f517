import { randomBytes } from 'node:crypto'
import { readFile, rename } from 'node:fs/promises'
import {
  certificatesInQuote,
  createSimPlatform,
  parseCertificate,
  parsePckExtension,
  parseQuote,
  withSimConditions,
} from '@cloister/attestation'
import { newDatasetId } from '@cloister/sealed'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { AttestedSession } from '../client/attested-session.ts'
import { KmsClient } from '../client/kms-client.ts'
import { toBase64Url, toHex } from '../protocol/encoding.ts'
import { type JobStatement, jobDigest } from '../protocol/job-statement.ts'
import { JWS_TYPES, signJws } from '../protocol/jws.ts'
import { encodePublicKey } from '../protocol/public-key.ts'
import { slotToJson } from '../protocol/slot.ts'
import {
  allow,
  newKey,
  publishCollateral,
  refused,
  Scene,
  sealPart,
  World,
} from './flow.test.support.ts'

let world: World
let other: World

beforeAll(async () => {
  world = await World.start()
  other = await World.start()
})

afterAll(async () => {
  await world.stop()
  await other.stop()
})

const digest = () => randomBytes(32).toString('hex')

function outputOf(job: JobStatement) {
  const [output] = job.outputs
  if (output === undefined) throw new Error('the job of a scene has an output')
  return output
}

/** Loses the first answer about heads, as a broken connection does. */
class RepeatingClient extends KmsClient {
  sent = 0
  last = ''

  override async commitHeads(jws: string): Promise<string> {
    this.last = jws
    this.sent++
    if (this.sent === 1) {
      await super.commitHeads(jws)
      this.sent++
    }
    return await super.commitHeads(jws)
  }
}

describe('challenges', () => {
  it('refuses an expired challenge', async () => {
    const scene = await Scene.make(world)
    const { body } = await scene.attestRaw({})
    try {
      world.clock.skewMs = 5 * 60 * 1000
      await refused(world.client().attest(body), 'CHALLENGE_EXPIRED', ['CHALLENGE_AGE'])
    } finally {
      world.clock.skewMs = 0
    }
  })

  it('refuses a challenge from the future', async () => {
    const scene = await Scene.make(world)
    world.clock.skewMs = 60_000
    const { body } = await scene.attestRaw({}).finally(() => {
      world.clock.skewMs = 0
    })
    await refused(world.client().attest(body), 'CHALLENGE_EXPIRED', ['CHALLENGE_AGE'])
  })

  it('refuses a used challenge, and evidence replayed whole', async () => {
    const scene = await Scene.make(world)
    const { body } = await scene.attestRaw({})
    await world.client().attest(body)
    await refused(world.client().attest(body), 'CHALLENGE_USED', [])
    const again = await scene.attestRaw({ challenge: body.challenge })
    await refused(world.client().attest(again.body), 'CHALLENGE_USED', [])
  })

  it('lets one of many take a challenge', async () => {
    const scene = await Scene.make(world)
    const { body } = await scene.attestRaw({})
    const tries = await Promise.allSettled(
      Array.from({ length: 8 }, () => world.client().attest(body)),
    )
    expect(tries.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  })

  it('does not consume a challenge for evidence that fails', async () => {
    const scene = await Scene.make(world)
    const { body } = await scene.attestRaw({})
    const forged = { ...body, receiveKey: encodePublicKey(newKey()) }
    await refused(world.client().attest(forged), 'REPORT_DATA_MISMATCH')
    await world.client().attest(body)
  })

  it('refuses the challenge of another key service', async () => {
    const scene = await Scene.make(world)
    const challenge = await other.client().challenge()
    const { body } = await scene.attestRaw({ challenge })
    await refused(world.client().attest(body), 'CHALLENGE_INVALID', ['KMS_ID'])
  })

  it('refuses a challenge with any bit changed', async () => {
    const scene = await Scene.make(world)
    const { body } = await scene.attestRaw({})
    const bytes = Buffer.from(body.challenge, 'base64url')
    for (let at = 0; at < bytes.length; at++) {
      const changed = Buffer.from(bytes)
      changed[at] = (changed[at] ?? 0) ^ 1
      const challenge = changed.toString('base64url')
      await refused(world.client().attest({ ...body, challenge }), 'CHALLENGE_INVALID')
    }
  })
})

describe('evidence', () => {
  it('refuses evidence replayed under a new challenge', async () => {
    const scene = await Scene.make(world)
    const { body } = await scene.attestRaw({})
    const challenge = await world.client().challenge()
    const replayed = world.client().attest({ ...body, challenge })
    await refused(replayed, 'REPORT_DATA_MISMATCH', ['REPORT_DATA_MISMATCH'])
  })

  it.each(['receiveKey', 'signKey'] as const)('refuses another %s than was quoted', async name => {
    const scene = await Scene.make(world)
    const { body } = await scene.attestRaw({})
    const forged = world.client().attest({ ...body, [name]: encodePublicKey(newKey()) })
    await refused(forged, 'REPORT_DATA_MISMATCH', ['REPORT_DATA_MISMATCH'])
  })

  it('refuses public keys that changed places', async () => {
    const scene = await Scene.make(world)
    const { body } = await scene.attestRaw({})
    const { receiveKey: signKey, signKey: receiveKey } = body
    const swapped = world.client().attest({ ...body, signKey, receiveKey })
    await refused(swapped, 'REPORT_DATA_MISMATCH', ['REPORT_DATA_MISMATCH'])
  })

  it('refuses a platform under a root that is not pinned', async () => {
    const scene = await Scene.make(world)
    const { body } = await scene.attestRaw({ platform: other.platform })
    const error = await refused(world.client().attest(body), 'EVIDENCE_INVALID')
    expect(error.reasons.map(reason => reason.code)).toEqual(['UNTRUSTED_ROOT'])
  })

  it('refuses another job than was quoted', async () => {
    const scene = await Scene.make(world)
    const job = { ...scene.job, resources: { memoryMiB: 1024 } }
    const { body } = await scene.attestRaw({ job, quotedJob: scene.job })
    const attested = world.client().attest(body)
    await refused(attested, 'REPORT_DATA_MISMATCH', ['REPORT_DATA_MISMATCH'])
  })

  it('refuses another measurement than the job names', async () => {
    const scene = await Scene.make(world)
    const measurement = digest()
    const { body } = await scene.attestRaw({ measurement })
    const error = await refused(world.client().attest(body), 'MEASUREMENT_MISMATCH', [
      'MEASUREMENT',
    ])
    const [reason] = error.reasons
    expect([reason?.wanted, reason?.seen]).toEqual([scene.measurement, measurement])
  })

  it('refuses a debug enclave', async () => {
    const scene = await Scene.make(world)
    const { body } = await scene.attestRaw({ enclave: { debug: true } })
    await refused(world.client().attest(body), 'APPRAISAL_REJECTED', ['DEBUG'])
  })

  it('refuses a quote with any part altered', async () => {
    const scene = await Scene.make(world)
    const { body } = await scene.attestRaw({})
    const quote = Buffer.from(body.quote, 'base64url')
    // MRENCLAVE, report data, and the quote's signature.
    for (const at of [48 + 64, 48 + 320, 436]) {
      const altered = Buffer.from(quote)
      altered[at] = (altered[at] ?? 0) ^ 1
      const call = world.client().attest({ ...body, quote: toBase64Url(altered) })
      await refused(call, 'EVIDENCE_INVALID', ['QUOTE_SIGNATURE'])
    }
  })

  it('refuses a job that does not name this key service', async () => {
    const scene = await Scene.make(world)
    const job = { ...scene.job, kms: [other.kms.pin.identityKey] }
    const { body } = await scene.attestRaw({ job })
    await refused(world.client().attest(body), 'WRONG_KMS', ['JOB_KMS'])
  })

  it('refuses an instance that names another TEE than its root proves', async () => {
    const scene = await Scene.make(world)
    const { body } = await scene.attestRaw({})
    await refused(world.client().attest({ ...body, tee: 'sgx' }), 'EVIDENCE_INVALID', ['TEE'])
  })

  it('reads collateral again when it changed: a revoked or out-of-date platform is refused', async () => {
    const scene = await Scene.make(world)
    const at = new Date()
    const judged = async (platform: typeof world.platform) => {
      await publishCollateral(world.folder, platform, at)
      return world.client().attest((await scene.attestRaw({})).body)
    }
    try {
      const revoked = withSimConditions(world.platform, { revoked: ['pck'] })
      await refused(judged(revoked), 'EVIDENCE_INVALID', ['REVOKED'])
      const old = withSimConditions(world.platform, { tcbStatus: 'OutOfDate' })
      await refused(judged(old), 'APPRAISAL_REJECTED', ['TCB_STATUS'])
      const expired = withSimConditions(world.platform, { expired: ['tcbInfo'] })
      await refused(judged(expired), 'EVIDENCE_INVALID', ['EXPIRED'])
    } finally {
      await judged(world.platform)
    }
  })

  it('says when it has no collateral for a platform', async () => {
    const scene = await Scene.make(world)
    const { body } = await scene.attestRaw({})
    const [pck] = certificatesInQuote(parseQuote(Buffer.from(body.quote, 'base64url')))
    if (pck === undefined) throw new Error('a quote bears its PCK chain')
    const fmspc = toHex(parsePckExtension(parseCertificate(pck)).fmspc)
    const path = `${world.folder}/${fmspc}.json`
    await rename(path, `${path}.away`)
    try {
      await refused(world.client().attest(body), 'COLLATERAL_UNAVAILABLE')
    } finally {
      await rename(`${path}.away`, path)
    }
  })
})

describe('release', () => {
  it('refuses a token with another key', async () => {
    const scene = await Scene.make(world)
    const jws = await scene.releaseJws(await scene.attest(), {}, newKey())
    await refused(world.client().release(jws), 'TOKEN_KEY', ['CNF'])
  })

  it('refuses an expired token', async () => {
    const scene = await Scene.make(world)
    const session = await scene.attest()
    try {
      world.clock.skewMs = 301_000
      await refused(session.release(scene.parts()), 'TOKEN_EXPIRED', ['TOKEN_EXPIRED'])
    } finally {
      world.clock.skewMs = 0
    }
  })

  it('refuses the token of another key service', async () => {
    const scene = await Scene.make(world)
    const foreign = await Scene.make(other)
    const session = await foreign.attest()
    const jws = await scene.releaseJws(session, {}, session.signKey)
    await refused(world.client().release(jws), 'TOKEN_INVALID', ['TOKEN_SIGNATURE'])
  })

  it('refuses a request meant for another key service', async () => {
    const scene = await Scene.make(world)
    const jws = await scene.releaseJws(await scene.attest(), { kmsId: other.kms.pin.kmsId })
    await refused(world.client().release(jws), 'WRONG_KMS', ['KMS_ID'])
  })

  it('refuses a request that was answered before', async () => {
    const scene = await Scene.make(world)
    const jws = await scene.releaseJws(await scene.attest())
    await world.client().release(jws)
    await refused(world.client().release(jws), 'REQUEST_REPLAYED', [])
  })

  it('refuses another receiving key put into a signed request', async () => {
    const scene = await Scene.make(world)
    const session = await scene.attest()
    const [header, , signature] = (await scene.releaseJws(session)).split('.')
    const [, payload] = (await scene.releaseJws(session)).split('.')
    await refused(world.client().release([header, payload, signature].join('.')), 'TOKEN_KEY', [])
  })

  it('refuses another job than was attested', async () => {
    const scene = await Scene.make(world)
    const session = await scene.attest()
    const job = { ...scene.job, resources: { memoryMiB: 1024 } }
    const jws = await scene.releaseJws(session, { job })
    await refused(world.client().release(jws), 'JOB_MISMATCH', ['JOB_DIGEST'])
  })

  it('refuses another job under the same measurement', async () => {
    const scene = await Scene.make(world)
    const command = { kind: 'sql', queries: [{ output: 'result', sql: 'SELECT * FROM people' }] }
    const job = { ...scene.job, command } as JobStatement
    const session = await scene.attest(job)
    const error = await refused(session.release(scene.parts()), 'RELEASE_DENIED', [
      'JOB_DIGEST',
      'JOB_DIGEST',
    ])
    const [reason] = error.reasons
    expect(reason?.wanted).toBe(toHex(jobDigest(scene.job)))
    expect(reason?.seen).toBe(toHex(jobDigest(job)))
  })

  it('refuses an image that no policy names, whatever else it is', async () => {
    const scene = await Scene.make(world)
    const measurement = digest()
    const job = { ...scene.job, measurement }
    const { body, signingKey } = await scene.attestRaw({ job, measurement })
    const { token } = await world.client().attest(body)
    const session = await scene.attest()
    const jws = await scene.releaseJws(session, { token, job }, signingKey)
    await refused(world.client().release(jws), 'RELEASE_DENIED', ['MEASUREMENT', 'JOB_DIGEST'])
  })

  it('refuses a disabled key, and gives it when enabled again', async () => {
    const scene = await Scene.make(world)
    const session = await scene.attest()
    await scene.owner.disableKey(scene.keyId)
    const denied = ['KEY_DISABLED', 'KEY_DISABLED']
    await refused(session.release(scene.parts()), 'RELEASE_DENIED', denied)
    await scene.owner.enableKey(scene.keyId)
    await session.release(scene.parts())
  })

  it('refuses when the policy was taken back after attestation', async () => {
    const scene = await Scene.make(world)
    const session = await scene.attest()
    const [policy] = await scene.owner.listPolicies()
    await scene.owner.removePolicy(policy?.policyId ?? '')
    const denied = ['NO_POLICY', 'NO_POLICY']
    await refused(session.release(scene.parts()), 'RELEASE_DENIED', denied)
  })

  it('refuses a slot made for another dataset', async () => {
    const scene = await Scene.make(world)
    const part = await sealPart(scene.owner, scene.keyId, newDatasetId())
    const session = await scene.attest()
    await refused(session.release(scene.parts({ part })), 'RELEASE_DENIED', ['SLOT_INVALID'])
  })

  it('refuses a slot moved to another file, or to another fixed part', async () => {
    const scene = await Scene.make(world)
    const session = await scene.attest()
    const another = await sealPart(scene.owner, scene.keyId, scene.inputId)
    for (const part of [
      { ...scene.part, slot: another.slot },
      { ...scene.part, fixedDigestHex: digest() },
      { ...scene.part, fileId: another.fileId },
    ]) {
      await refused(session.release(scene.parts({ part })), 'RELEASE_DENIED', ['SLOT_INVALID'])
    }
  })

  it('refuses a slot with any byte of its wrapped key changed', async () => {
    const scene = await Scene.make(world)
    const session = await scene.attest()
    const { slot } = scene.part
    for (let at = 0; at < slot.wrappedDek.length; at += 7) {
      const wrappedDek = Uint8Array.from(slot.wrappedDek)
      wrappedDek[at] = (wrappedDek[at] ?? 0) ^ 0x80
      const part = { ...scene.part, slot: { ...slot, wrappedDek } }
      await refused(session.release(scene.parts({ part })), 'RELEASE_DENIED', ['SLOT_INVALID'])
    }
  })

  it('refuses a dataset that the job does not name', async () => {
    const scene = await Scene.make(world)
    const second = await Scene.make(world, scene.owner)
    const session = await scene.attest()
    const { fileId, fixedDigestHex, slot } = second.part
    const parts = [{ fileId, fixedDigestHex, slot: slotToJson(slot) }]
    const jws = await scene.releaseJws(session, {
      inputs: [{ datasetId: second.inputId, parts }],
    })
    await refused(world.client().release(jws), 'RELEASE_DENIED', ['DATASET'])
  })

  it('refuses an older version of a dataset than its head', async () => {
    const scene = await Scene.make(world)
    const head = await scene.owner.getHead(scene.inputId)
    const writerKey = encodePublicKey(newKey())
    const next = { version: 2, manifestDigest: digest(), writerKey }
    await scene.owner.moveHead(scene.inputId, head, next)
    const session = await scene.attest()
    const error = await refused(session.release(scene.parts()), 'RELEASE_DENIED', ['STALE_DATASET'])
    const [reason] = error.reasons
    expect([reason?.wanted, reason?.seen]).toEqual(['version 2', 'version 1'])
  })

  it('refuses a newer version than the head, and a dataset without any', async () => {
    const scene = await Scene.make(world)
    const datasetId = newDatasetId()
    for (const [id, version] of [
      [scene.inputId, 2],
      [datasetId, 1],
    ] as const) {
      const inputs = [{ name: 'people', datasetId: id, version, format: 'csv' }] as const
      const job: JobStatement = { ...scene.job, inputs: [...inputs] }
      await allow(scene.owner, scene.keyId, job)
      const session = await scene.attest(job)
      const part = await sealPart(scene.owner, scene.keyId, id)
      const parts = { inputs: new Map([[id, [part]]]), outputs: new Map() }
      await refused(session.release(parts), 'RELEASE_DENIED', ['STALE_DATASET'])
    }
  })

  it('collects every reason of a denial', async () => {
    const scene = await Scene.make(world)
    const command = { kind: 'exec' as const, argv: ['/bin/true'] }
    const job: JobStatement = {
      ...scene.job,
      command,
      inputs: [{ name: 'people', datasetId: scene.inputId, version: 7, format: 'csv' }],
    }
    const session = await scene.attest(job)
    await scene.owner.disableKey(scene.keyId)
    await refused(session.release(scene.parts()), 'RELEASE_DENIED', [
      'STALE_DATASET',
      'KEY_DISABLED',
      'KEY_DISABLED',
    ])
  })

  it('refuses a key whose owner is not the dataset’s', async () => {
    const scene = await Scene.make(world)
    const thief = await Scene.make(world)
    // The thief's own key, policy and enclave, and the other's dataset id.
    const job: JobStatement = { ...thief.job, inputs: scene.job.inputs }
    await allow(thief.owner, thief.keyId, job)
    const session = await thief.attest(job)
    const part = await sealPart(thief.owner, thief.keyId, scene.inputId)
    const parts = { inputs: new Map([[scene.inputId, [part]]]), outputs: new Map() }
    await refused(session.release(parts), 'RELEASE_DENIED', ['DATASET_OWNER'])
    // The other's slots under the other's key have no policy for the thief's job.
    const stolen = { inputs: new Map([[scene.inputId, [scene.part]]]), outputs: new Map() }
    await refused(session.release(stolen), 'RELEASE_DENIED', ['MEASUREMENT', 'JOB_DIGEST'])
  })
})

describe('heads', () => {
  it('lets one of two instances move a head', async () => {
    const scene = await Scene.make(world)
    const { datasetId } = outputOf(scene.job)
    const sessions = [await scene.attest(), await scene.attest()]
    for (const session of sessions) await session.release(scene.parts())
    const moved = await Promise.allSettled(
      sessions.map(session => {
        const next = { version: 1, manifestDigest: digest() }
        return session.commitHeads([{ datasetId, expected: null, next }])
      }),
    )
    expect(moved.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    const lost = moved.flatMap(result => (result.status === 'rejected' ? [result.reason] : []))
    await refused(Promise.reject(lost[0]), 'HEAD_CONFLICT', ['HEAD_CONFLICT'])
    const won = moved.flatMap(result => (result.status === 'fulfilled' ? [result.value] : []))
    const head = await scene.owner.getHead(datasetId)
    expect(head).toEqual(won[0]?.statement.heads[datasetId])
  })

  it('answers a repeated request again and moves nothing by it', async () => {
    const scene = await Scene.make(world)
    const { datasetId } = outputOf(scene.job)
    const client = new RepeatingClient(world.kms.pin)
    const quoteFor = world.quoting(scene.measurement)
    const session = await AttestedSession.attest({ client, tee: 'sim', job: scene.job, quoteFor })
    await session.release(scene.parts())
    const next = { version: 1, manifestDigest: digest() }
    const { statement } = await session.commitHeads([{ datasetId, expected: null, next }])
    expect(client.sent).toBe(2)
    expect(statement.heads[datasetId]?.manifestDigest).toBe(next.manifestDigest)
    const head = await scene.owner.getHead(datasetId)
    const newer = { version: 2, manifestDigest: digest(), writerKey: session.writerKey }
    await scene.owner.moveHead(datasetId, head, newer)
    await world.client().commitHeads(client.last)
    expect(await scene.owner.getHead(datasetId)).toEqual({ datasetId, ...newer })
    const again = { datasetId, expected: null, next }
    await refused(session.commitHeads([again]), 'HEAD_CONFLICT', ['HEAD_CONFLICT'])
    client.close()
  })

  it('moves all heads or none', async () => {
    const scene = await Scene.make(world)
    const first = outputOf(scene.job)
    const second = { ...first, name: 'second', datasetId: newDatasetId() }
    const job: JobStatement = { ...scene.job, outputs: [first, second] }
    await allow(scene.owner, scene.keyId, job)
    const session = await scene.attest(job)
    await session.release({ inputs: new Map([[scene.inputId, [scene.part]]]), outputs: new Map() })
    const next = { version: 1, manifestDigest: digest() }
    const moves = [
      { datasetId: first.datasetId, expected: null, next },
      { datasetId: second.datasetId, expected: next, next: { ...next, version: 2 } },
    ]
    await refused(session.commitHeads(moves), 'HEAD_CONFLICT', ['HEAD_CONFLICT'])
    expect(await scene.owner.getHead(first.datasetId)).toBeNull()
  })

  it('moves no dataset but the job’s outputs, and signs for no other writer', async () => {
    const scene = await Scene.make(world)
    const session = await scene.attest()
    const released = await session.release(scene.parts())
    const head = released.heads.get(scene.inputId) ?? null
    const next = { version: 2, manifestDigest: digest() }
    const input = { datasetId: scene.inputId, expected: head, next }
    await refused(session.commitHeads([input]), 'RELEASE_DENIED', ['DATASET'])
    const { datasetId } = outputOf(scene.job)
    const [row] = (await scene.owner.audit()).filter(({ entry }) => entry['action'] === 'release')
    const jws = await signJws(
      JWS_TYPES.heads,
      {
        kmsId: world.kms.pin.kmsId,
        token: session.evidence.token,
        jti: randomBytes(16).toString('base64url'),
        job: scene.job,
        receiveKey: encodePublicKey(newKey()),
        quoteDigestHex: digest(),
        moves: [
          {
            datasetId,
            expected: null,
            next: { version: 1, manifestDigest: digest(), writerKey: encodePublicKey(newKey()) },
          },
        ],
        releaseIndex: row?.index ?? -1,
        logSize: 1,
      },
      session.signKey,
    )
    await refused(world.client().commitHeads(jws), 'RELEASE_DENIED', ['WRITER_KEY'])
  })

  it('moves nothing on the strength of another instance’s release', async () => {
    const scene = await Scene.make(world)
    await (await scene.attest()).release(scene.parts())
    const [row] = (await scene.owner.audit()).filter(({ entry }) => entry['action'] === 'release')
    const session = await scene.attest()
    const jws = await signJws(
      JWS_TYPES.heads,
      {
        kmsId: world.kms.pin.kmsId,
        token: session.evidence.token,
        jti: randomBytes(16).toString('base64url'),
        job: scene.job,
        receiveKey: encodePublicKey(newKey()),
        quoteDigestHex: digest(),
        moves: [],
        releaseIndex: row?.index ?? -1,
        logSize: 1,
      },
      session.signKey,
    )
    // The token may not even have been issued when the other's release was.
    const call = world.client().commitHeads(jws)
    await expect(call).rejects.toMatchObject({
      code: expect.stringMatching(/^(RELEASE_DENIED|TOKEN_INVALID)$/),
    })
  })

  it('moves nothing once the key was disabled', async () => {
    const scene = await Scene.make(world)
    const session = await scene.attest()
    await session.release(scene.parts())
    await scene.owner.disableKey(scene.keyId)
    const next = { version: 1, manifestDigest: digest() }
    const move = { datasetId: outputOf(scene.job).datasetId, expected: null, next }
    await refused(session.commitHeads([move]), 'RELEASE_DENIED', ['KEY_DISABLED'])
  })
})

describe('accounts', () => {
  it('gives the plaintext of an attested-only key by no call of its owner', async () => {
    const scene = await Scene.make(world)
    const { owner, keyId, part } = scene
    const context = {
      datasetId: scene.inputId,
      fileId: part.fileId,
      fixedDigestHex: part.fixedDigestHex,
    }
    await refused(owner.unwrapDek(keyId, part.slot, context), 'KEY_ATTESTED_ONLY', [])
    const open = await owner.createKey({ mode: 'open' })
    await refused(owner.unwrapDek(open.keyId, part.slot, context), 'SLOT_INVALID', [])
    const relabelled = { ...part.slot, cmkId: open.keyId }
    await refused(owner.unwrapDek(open.keyId, relabelled, context), 'SLOT_INVALID', [])
    const secret = Buffer.from(part.dek.exposeBytes())
    const answers = JSON.stringify([
      await owner.listKeys(),
      await owner.listPolicies(),
      await owner.audit(),
      await owner.disableKey(keyId),
      await owner.enableKey(keyId),
      await owner.getHead(scene.inputId),
      await owner.wrapDek(keyId, part.dek, context).then(slotToJson),
    ])
    for (const encoding of ['hex', 'base64', 'base64url'] as const) {
      expect(answers).not.toContain(secret.toString(encoding))
    }
  })

  it('unwraps under an open key, in its context only', async () => {
    const owner = await world.enrol()
    const { keyId } = await owner.createKey({ mode: 'open', alias: 'shared' })
    const datasetId = newDatasetId()
    const { dek, slot, fileId, fixedDigestHex } = await sealPart(owner, keyId, datasetId)
    const context = { datasetId, fileId, fixedDigestHex }
    const opened = await owner.unwrapDek(keyId, slot, context)
    expect(opened.exposeBytes()).toEqual(dek.exposeBytes())
    const moved = { ...context, datasetId: newDatasetId() }
    await refused(owner.unwrapDek(keyId, slot, moved), 'SLOT_INVALID', [])
  })

  it('refuses another account at every call', async () => {
    const scene = await Scene.make(world)
    const { keyId, part, inputId } = scene
    const thief = await world.enrol()
    const { fileId, fixedDigestHex, slot, dek } = part
    const context = { datasetId: inputId, fileId, fixedDigestHex }
    await refused(thief.wrapDek(keyId, dek, context), 'NOT_OWNER')
    await refused(thief.unwrapDek(keyId, slot, context), 'NOT_OWNER')
    await refused(thief.disableKey(keyId), 'NOT_OWNER')
    const seen = (await scene.owner.audit()).at(-1)?.entry
    expect([seen?.['action'], seen?.['outcome'], seen?.['keyId']]).toEqual([
      'disable-key',
      'denied',
      keyId,
    ])
    await refused(thief.enableKey(keyId), 'NOT_OWNER')
    await refused(allow(thief, keyId, scene.job), 'NOT_OWNER')
    await refused(thief.getHead(inputId), 'NOT_OWNER')
    const head = await scene.owner.getHead(inputId)
    const next = { version: 2, manifestDigest: digest(), writerKey: encodePublicKey(newKey()) }
    await refused(thief.moveHead(inputId, head, next), 'NOT_OWNER', ['HEAD_OWNER'])
    const [policy] = await scene.owner.listPolicies()
    await refused(thief.removePolicy(policy?.policyId ?? ''), 'NOT_FOUND')
    expect(await thief.listKeys()).toEqual([])
    expect(await thief.listPolicies()).toEqual([])
    const actors = (await thief.audit()).map(({ entry }) => entry['actor'])
    expect(new Set(actors).size).toBe(2)
    expect(actors).toContain('enrolment')
    expect(JSON.stringify(await thief.audit())).not.toContain('create-key')
  })

  it('refuses calls without a credential, with a false one, and with another service’s', async () => {
    const { keyId } = await Scene.make(world)
    const token = `${'0'.repeat(32)}.${'A'.repeat(43)}`
    for (const client of [world.client(), world.client(token), world.client('x')]) {
      await refused(client.listKeys(), 'UNAUTHENTICATED', [])
      await refused(client.createKey({ mode: 'open' }), 'UNAUTHENTICATED', [])
      await refused(client.disableKey(keyId), 'UNAUTHENTICATED', [])
      await refused(client.audit(), 'UNAUTHENTICATED', [])
    }
  })

  it('takes each enrolment token once', async () => {
    const token = await readFile(`${world.folder}/kms/enrolment-token`, 'utf8')
    const tries = await Promise.allSettled([
      world.client().enrol(token),
      world.client().enrol(token),
    ])
    expect(tries.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    await refused(world.client().enrol(token), 'ENROLMENT_REFUSED', [])
  })
})

describe('another platform', () => {
  it('is no other than its root: two roots pinned, one key each', async () => {
    const scene = await Scene.make(world)
    const platform = createSimPlatform({ createdAt: new Date(Date.now() - 60_000) })
    const { body } = await scene.attestRaw({ platform })
    await refused(world.client().attest(body), 'EVIDENCE_INVALID', ['UNTRUSTED_ROOT'])
  })
})
