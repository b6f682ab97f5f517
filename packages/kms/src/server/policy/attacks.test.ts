// biome-ignore-all lint/suspicious/noTemplateCurlyInString: so do the holes of job templates look
import { randomBytes } from 'node:crypto'
import { newDatasetId, newFileId } from '@cloister/sealed'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { KmsClient } from '../../client/kms-client.ts'
import { toHex } from '../../protocol/encoding.ts'
import { type JobStatement, jobDigest } from '../../protocol/job-statement.ts'
import { jobTemplateOf } from '../../protocol/job-template/job-template.ts'
import type { ReleaseTemplate } from '../../protocol/messages/policies.ts'
import { encodePublicKey } from '../../protocol/public-key.ts'
import { operatorOf } from '../accounts-flow.test.support.ts'
import { enclaveOf, newKey, refused, Scene, sealPart, World } from '../flow.test.support.ts'

let world: World

beforeAll(async () => {
  world = await World.start()
})

afterAll(() => world.stop())

const digest = () => randomBytes(32).toString('hex')
const SIGNER = toHex(enclaveOf(digest()).mrSigner)

async function removePolicies(owner: KmsClient): Promise<void> {
  for (const { policyId } of await owner.listPolicies()) await owner.removePolicy(policyId)
}

/** A scene whose one policy is of a template. */
async function sceneWith(change: Partial<ReleaseTemplate> = {}) {
  const scene = await Scene.make(world)
  await removePolicies(scene.owner)
  const { policyId } = await scene.owner.addPolicy({ template: templateOf(scene, change) })
  return { scene, policyId }
}

function templateOf(scene: Scene, change: Partial<ReleaseTemplate> = {}): ReleaseTemplate {
  const byDigest = { jobDigests: [toHex(jobDigest(scene.job))] }
  const isOther = 'jobTemplate' in change || 'allowAnyJob' in change
  return {
    keyId: scene.keyId,
    images: [{ measurement: scene.measurement }],
    ...(isOther ? {} : byDigest),
    tees: ['sim'],
    tcbStatuses: ['UpToDate'],
    ...change,
  }
}

const outputOf = ({ job }: Scene) => job.outputs[0]?.datasetId ?? ''

describe('a limit on releases', () => {
  it('raced by two instances lets one through, who then finishes its job', async () => {
    const { scene } = await sceneWith({ maxReleases: 1 })
    const sessions = [await scene.attest(), await scene.attest()]
    const tries = await Promise.allSettled(sessions.map(session => session.release(scene.parts())))
    const won = tries.findIndex(({ status }) => status === 'fulfilled')
    expect(tries.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    const lost = tries.flatMap(result => (result.status === 'rejected' ? [result.reason] : []))
    const limits = ['RELEASE_LIMIT', 'RELEASE_LIMIT']
    await refused(Promise.reject(lost[0]), 'RELEASE_DENIED', limits)
    const move = {
      datasetId: outputOf(scene),
      expected: null,
      next: { version: 1, manifestDigest: digest() },
    }
    await sessions[won]?.commitHeads([move])
    await refused((await scene.attest()).release(scene.parts()), 'RELEASE_DENIED', limits)
    expect(await scene.owner.listPolicies()).toMatchObject([{ releases: 1 }])
  })

  it('lets the job through finish with as many output files as it has, and counts it once', async () => {
    const { scene } = await sceneWith({ maxReleases: 1 })
    const session = await scene.attest()
    await session.release(scene.parts())
    for (let request = 0; request < 3; request += 1) {
      const file = { fileId: newFileId(), fixedDigestHex: digest() }
      await session.releaseOutputs(new Map([[outputOf(scene), [file]]]))
    }
    expect(await scene.owner.listPolicies()).toMatchObject([{ releases: 1 }])
    await removePolicies(scene.owner)
    const file = { fileId: newFileId(), fixedDigestHex: digest() }
    const without = session.releaseOutputs(new Map([[outputOf(scene), [file]]]))
    await refused(without, 'RELEASE_DENIED', ['NO_POLICY'])
  })

  it('is not got round by going on with a release that gave no such key', async () => {
    const { scene } = await sceneWith({ maxReleases: 1 })
    const session = await scene.attest()
    const { inputs } = scene.parts()
    await session.release({ inputs, outputs: new Map() })
    const file = { fileId: newFileId(), fixedDigestHex: digest() }
    const more = session.releaseOutputs(new Map([[outputOf(scene), [file]]]))
    await refused(more, 'RELEASE_DENIED', ['RELEASE_INDEX'])
  })

  it('is not got round by going on with a release that another policy permitted', async () => {
    const scene = await Scene.make(world)
    const session = await scene.attest()
    await session.release(scene.parts())
    await removePolicies(scene.owner)
    await scene.owner.addPolicy({ template: templateOf(scene, { maxReleases: 1 }) })
    await (await scene.attest()).release(scene.parts())
    const file = { fileId: newFileId(), fixedDigestHex: digest() }
    const more = session.releaseOutputs(new Map([[outputOf(scene), [file]]]))
    await refused(more, 'RELEASE_DENIED', ['RELEASE_LIMIT'])
    const next = { version: 1, manifestDigest: digest() }
    const move = session.commitHeads([{ datasetId: outputOf(scene), expected: null, next }])
    await refused(move, 'RELEASE_DENIED', ['RELEASE_LIMIT'])
  })

  it('is not got round by moving the head of an output under another key than was released', async () => {
    const scene = await Scene.make(world)
    const { keyId } = await scene.owner.createKey({ mode: 'attested-only' })
    const outputs = scene.job.outputs.map(output => ({ ...output, cmkId: keyId }))
    const job = { ...scene.job, outputs } as JobStatement
    const jobDigests = [toHex(jobDigest(job))]
    await scene.owner.addPolicy({ template: templateOf(scene, { jobDigests }) })
    await scene.owner.addPolicy({
      template: templateOf(scene, { jobDigests, keyId, maxReleases: 1 }),
    })
    const [session, other] = [await scene.attest(job), await scene.attest(job)]
    const { inputs } = scene.parts()
    await session.release({ inputs, outputs: new Map() })
    await other.release(scene.parts())
    const next = { version: 1, manifestDigest: digest() }
    const move = { datasetId: outputOf(scene), expected: null, next }
    await refused(session.commitHeads([move]), 'RELEASE_DENIED', ['RELEASE_LIMIT'])
    await other.commitHeads([move])
  })

  it('counts a request once, whatever it asks for, and what was refused not at all', async () => {
    const { scene } = await sceneWith({ maxReleases: 2 })
    const session = await scene.attest()
    const wrong = await sealPart(scene.owner, scene.keyId, newDatasetId())
    await refused(session.release(scene.parts({ part: wrong })), 'RELEASE_DENIED', ['SLOT_INVALID'])
    await session.release(scene.parts())
    expect(await scene.owner.listPolicies()).toMatchObject([{ releases: 1 }])
    const jws = await scene.releaseJws(session)
    await world.client().release(jws)
    await refused(world.client().release(jws), 'REQUEST_REPLAYED')
    expect(await scene.owner.listPolicies()).toMatchObject([{ releases: 2 }])
  })

  it('put back or taken away with SQL releases nothing', async () => {
    const { scene, policyId } = await sceneWith({ maxReleases: 1 })
    await (await scene.attest()).release(scene.parts())
    const where = `where id = 'policy:${policyId}'`
    const [row] = world.database.read(`select * from release_counts ${where}`)
    expect(row).toMatchObject({ releases: 1 })
    const session = await scene.attest()
    world.database.edit(`update release_counts set releases = 0 ${where}`)
    await refused(session.release(scene.parts()), 'INTEGRITY')
    world.database.edit(`delete from release_counts ${where}`)
    await refused(session.release(scene.parts()), 'INTEGRITY')
    world.database.edit(
      `insert into release_counts values (${row?.['row_version']}, '${row?.['mac']}', '${row?.['id']}', 1)`,
    )
    await refused(session.release(scene.parts()), 'RELEASE_DENIED')
  })
})

describe('a policy', () => {
  it('edited with SQL decides nothing, before it was first asked and after', async () => {
    const own = await World.start()
    try {
      const scene = await Scene.make(own)
      const session = await scene.attest()
      const [row] = own.database.read('select * from policies')
      const cedar = String(row?.['cedar'])
      const set = (text: string) => own.database.edit(`update policies set cedar = '${text}'`)
      set(cedar.replaceAll(scene.measurement, digest()))
      await refused(session.release(scene.parts()), 'INTEGRITY')
      set('permit (principal, action, resource);')
      await refused(session.release(scene.parts()), 'INTEGRITY')
      set(cedar)
      await session.release(scene.parts())
      set('permit (principal, action, resource);')
      // The text that is kept in memory is the one that was proven; a listing reads the row.
      await session.release(scene.parts())
      await refused(scene.owner.listPolicies(), 'INTEGRITY')
      set(cedar)
      own.database.edit(`update policies set template = '{}'`)
      await refused(scene.owner.listPolicies(), 'INTEGRITY')
    } finally {
      await own.stop()
    }
  })

  it('that forbids is not left out by taking its row away, or out of its key’s list', async () => {
    for (const sql of [
      `delete from policies where template like '%forbid%'`,
      `update policies set key_id = (select max(key_id) from keys) where template like '%forbid%'`,
      `update policy_sets set policy_ids = substr(policy_ids, 1, 36)`,
      `delete from policy_sets`,
    ]) {
      const own = await World.start()
      try {
        const scene = await Scene.make(own)
        await scene.owner.createKey({ mode: 'open' })
        const cedar = `forbid (principal, action, resource == Cloister::Key::"${scene.keyId}");`
        await scene.owner.addPolicy({ cedar })
        expect(own.database.edit(sql)).toBeGreaterThan(0)
        const call = (await scene.attest()).release(scene.parts())
        await expect(call).rejects.toMatchObject({
          code: expect.stringMatching(/^(INTEGRITY|RELEASE_DENIED)$/),
        })
      } finally {
        await own.stop()
      }
    }
  })

  it('names its key by id, in a template and in a text', async () => {
    const scene = await Scene.make(world)
    const { owner } = scene
    const { keyId } = await owner.createKey({ mode: 'attested-only', alias: 'patients' })
    const aliased = { ...templateOf(scene), keyId: 'patients' }
    await refused(owner.addPolicy({ template: aliased }), 'MALFORMED')
    const text = (key: string) =>
      `permit (principal, action, resource == Cloister::Key::"${key}")
       when { principal.measurement == "${scene.measurement}" && context.jobDigest == "${digest()}" };`
    const error = await refused(owner.addPolicy({ cedar: text('patients') }), 'MALFORMED')
    expect(error.message).toContain('by id, never by alias')
    await owner.addPolicy({ cedar: text(keyId) })
    const stranger = await world.enrol()
    await refused(stranger.addPolicy({ cedar: text(keyId) }), 'NOT_OWNER')
    await refused(world.client().addPolicy({ cedar: text(keyId) }), 'UNAUTHENTICATED')
  })

  it('given as text decides, and permits any job only where that is said', async () => {
    const { scene } = await sceneWith({ tees: ['sgx'] })
    const { keyId, measurement, owner } = scene
    const session = await scene.attest()
    const denied = await refused(session.release(scene.parts()), 'RELEASE_DENIED')
    expect(denied.reasons.map(({ code }) => code)).toEqual(['TEE', 'TEE'])
    const cedar = `permit (principal, action, resource == Cloister::Key::"${keyId}")
      when { principal.measurement == "${measurement}" && principal.tee == "sim" };`
    await refused(owner.addPolicy({ cedar }), 'MALFORMED')
    const { policyId } = await owner.addPolicy({ cedar, allowAnyJob: true })
    await session.release(scene.parts())
    const rows = (await owner.audit()).map(({ entry }) => entry)
    expect(rows.at(-1)).toMatchObject({ action: 'release', policies: [policyId] })
    expect(rows).toContainEqual(
      expect.objectContaining({ action: 'add-policy', anyJob: true, policyId }),
    )
    const forbid = `forbid (principal, action, resource == Cloister::Key::"${keyId}");`
    const stop = await owner.addPolicy({ cedar: forbid })
    const error = await refused(session.release(scene.parts()), 'RELEASE_DENIED')
    expect(error.reasons).toContainEqual(
      expect.objectContaining({ code: 'FORBIDDEN', policyId: stop.policyId }),
    )
    const last = (await owner.audit()).at(-1)?.entry
    expect(last?.['reasons']).toContainEqual(
      expect.objectContaining({ code: 'FORBIDDEN', policyId: stop.policyId }),
    )
  })

  it('of a signer admits newer images, and none that is older, of another product, or another’s', async () => {
    const scene = await Scene.make(world)
    await removePolicies(scene.owner)
    const images = [{ mrSigner: SIGNER, isvProdId: 1, minIsvSvn: 2 }]
    const jobTemplate = { ...jobTemplateOf(scene.job), measurement: 'any' }
    await scene.owner.addPolicy({ template: templateOf(scene, { images, jobTemplate }) })
    const run = async (enclave: Parameters<Scene['attestRaw']>[0]['enclave']) => {
      const measurement = digest()
      const job = { ...scene.job, measurement }
      const { body, signingKey } = await scene.attestRaw({
        job,
        measurement,
        ...(enclave === undefined ? {} : { enclave }),
      })
      const { token } = await world.client().attest(body)
      const jws = await scene.releaseJws(await scene.attest(), { token, job }, signingKey)
      return world.client().release(jws)
    }
    await run({ isvSvn: 2 })
    await run({ isvSvn: 9 })
    await refused(run({ isvSvn: 1 }), 'RELEASE_DENIED', ['ISV_SVN'])
    await refused(run({ isvSvn: 9, isvProdId: 2 }), 'RELEASE_DENIED', ['MEASUREMENT'])
    const mrSigner = new Uint8Array(32).fill(9)
    await refused(run({ isvSvn: 9, mrSigner }), 'RELEASE_DENIED', ['MEASUREMENT'])
  })

  it('for a time releases within it, and lets a job that began in it end after', async () => {
    const now = Date.now()
    const window = {
      notBefore: new Date(now - 60_000).toISOString(),
      notAfter: new Date(now + 60_000).toISOString(),
    }
    const { scene } = await sceneWith(window)
    const session = await scene.attest()
    await session.release(scene.parts())
    try {
      world.clock.skewMs = 61_000
      const again = session.release(scene.parts())
      await refused(again, 'RELEASE_DENIED', ['NOT_AFTER', 'NOT_AFTER'])
      const next = { version: 1, manifestDigest: digest() }
      await session.commitHeads([{ datasetId: outputOf(scene), expected: null, next }])
    } finally {
      world.clock.skewMs = 0
    }
  })

  it('for some datasets and one action releases no other', async () => {
    const scene = await Scene.make(world)
    await removePolicies(scene.owner)
    await scene.owner.addPolicy({
      template: templateOf(scene, { datasets: [scene.inputId], actions: ['release'] }),
    })
    const session = await scene.attest()
    const error = await refused(session.release(scene.parts()), 'RELEASE_DENIED')
    expect(error.reasons.map(({ code }) => code)).toEqual(['ACTION', 'POLICY_DATASET'])
    const inputs = new Map([[scene.inputId, [scene.part]]])
    await session.release({ inputs, outputs: new Map() })
  })
})

describe('a job template', () => {
  const varied = (scene: Scene) => ({
    ...jobTemplateOf(scene.job),
    command: {
      kind: 'sql' as const,
      queries: [{ output: 'result', sql: "SELECT count(*) FROM people WHERE day = '${day}'" }],
    },
    inputs: scene.job.inputs.map(input => ({ ...input, version: { min: 1 } })),
    holes: { day: { kind: 'date' as const, from: '2026-01-01', to: '2026-12-31' } },
  })
  const jobOf = (scene: Scene, sql: string, change: Partial<JobStatement> = {}): JobStatement => ({
    ...scene.job,
    command: { kind: 'sql', queries: [{ output: 'result', sql }] },
    ...change,
  })
  const query = (day: string) => `SELECT count(*) FROM people WHERE day = '${day}'`

  it('releases to the jobs that it says, and follows the data as it goes on', async () => {
    const scene = await Scene.make(world)
    await removePolicies(scene.owner)
    await scene.owner.addPolicy({ template: templateOf(scene, { jobTemplate: varied(scene) }) })
    for (const day of ['2026-01-01', '2026-12-31']) {
      await (await scene.attest(jobOf(scene, query(day)))).release(scene.parts())
    }
    const head = await scene.owner.getHead(scene.inputId)
    const writerKey = encodePublicKey(newKey())
    await scene.owner.moveHead(scene.inputId, head, {
      version: 2,
      manifestDigest: digest(),
      writerKey,
    })
    const inputs = scene.job.inputs.map(input => ({ ...input, version: 2 }))
    await (await scene.attest(jobOf(scene, query('2026-02-01'), { inputs }))).release(scene.parts())
  })

  it('is widened by nothing that a host puts into a job', async () => {
    const scene = await Scene.make(world)
    await removePolicies(scene.owner)
    await scene.owner.addPolicy({ template: templateOf(scene, { jobTemplate: varied(scene) }) })
    const other = newDatasetId()
    const attacks: readonly JobStatement[] = [
      jobOf(scene, query("2026-01-01' OR '1'='1")),
      jobOf(scene, query('2027-01-01')),
      jobOf(scene, query('${day}')),
      jobOf(scene, query('')),
      jobOf(scene, `${query('2026-01-01')} `),
      jobOf(scene, query('2026-01-01').toLowerCase()),
      jobOf(scene, query('2026-01-01').replace('count(*)', '*')),
      jobOf(scene, query('2026-01-01'), { environment: { TZ: 'UTC' } }),
      jobOf(scene, query('2026-01-01'), { resources: { memoryMiB: 513 } }),
      jobOf(scene, query('2026-01-01'), {
        inputs: [
          ...scene.job.inputs,
          { name: 'more', datasetId: other, version: 1, format: 'csv' },
        ],
      }),
      jobOf(scene, query('2026-01-01'), {
        outputs: scene.job.outputs.map(output => ({ ...output, datasetId: other })),
      }),
      jobOf(scene, query('2026-01-01'), {
        kms: [...scene.job.kms, encodePublicKey(newKey())],
      }),
      { ...scene.job, command: { kind: 'exec', argv: ['/bin/sh'] } },
    ]
    for (const job of attacks) {
      const session = await scene.attest(job)
      const inputs = new Map([[scene.inputId, [scene.part]]])
      const error = await refused(session.release({ inputs, outputs: new Map() }), 'RELEASE_DENIED')
      expect(error.reasons.map(({ code }) => code)).toEqual(['JOB_TEMPLATE'])
      expect(error.reasons[0]?.seen).not.toBe('')
    }
  })

  it('matches no job that only claims to be the one attested', async () => {
    const scene = await Scene.make(world)
    await removePolicies(scene.owner)
    await scene.owner.addPolicy({ template: templateOf(scene, { jobTemplate: varied(scene) }) })
    const session = await scene.attest()
    const job = jobOf(scene, query('2026-01-01'))
    const jws = await scene.releaseJws(session, { job })
    await refused(world.client().release(jws), 'JOB_MISMATCH', ['JOB_DIGEST'])
  })
})

describe('a withdrawal', () => {
  it('by the owner stops releases at once, to tokens given before too, and is undone by it alone', async () => {
    const scene = await Scene.make(world)
    const other = await Scene.make(world)
    const session = await scene.attest()
    await session.release(scene.parts())
    const withdrawn = await scene.owner.withdrawals.withdraw({
      kind: 'measurement',
      value: scene.measurement,
      reason: 'a flaw in parsing',
    })
    expect(Date.parse(withdrawn.tokensEndAt)).toBeGreaterThan(Date.now() + 200_000)
    const reasons = ['WITHDRAWN', 'WITHDRAWN']
    const error = await refused(session.release(scene.parts()), 'RELEASE_DENIED', reasons)
    expect(error.reasons[0]?.message).toContain('a flaw in parsing')
    const move = {
      datasetId: outputOf(scene),
      expected: null,
      next: { version: 1, manifestDigest: digest() },
    }
    await refused(session.commitHeads([move]), 'RELEASE_DENIED', ['WITHDRAWN'])
    // A new instance is attested, as it may serve others, and gets nothing of this owner’s.
    await refused((await scene.attest()).release(scene.parts()), 'RELEASE_DENIED', reasons)
    await (await other.attest()).release(other.parts())
    // No policy outweighs it.
    await scene.owner.addPolicy({ template: templateOf(scene, { allowAnyJob: true }) })
    await refused(session.release(scene.parts()), 'RELEASE_DENIED', reasons)
    const { withdrawalId } = withdrawn.withdrawal
    await refused(other.owner.withdrawals.undo(withdrawalId), 'NOT_FOUND')
    const { operator } = await operatorOf(world)
    await refused(operator.withdrawals.undo(withdrawalId), 'NOT_FOUND')
    await scene.owner.withdrawals.undo(withdrawalId)
    await session.release(scene.parts())
    const acts = (await scene.owner.audit()).map(({ entry }) => [entry['action'], entry['value']])
    expect(acts).toContainEqual(['withdraw', scene.measurement])
    expect(acts).toContainEqual(['undo-withdrawal', scene.measurement])
  })

  it('by the operator stops attestation and releases of everybody', async () => {
    const scene = await Scene.make(world)
    const session = await scene.attest()
    const { operator } = await operatorOf(world)
    const { withdrawal } = await operator.withdrawals.withdraw({
      kind: 'measurement',
      value: scene.measurement,
    })
    await refused(scene.attest(), 'WITHDRAWN', ['WITHDRAWN'])
    await refused(session.release(scene.parts()), 'RELEASE_DENIED', ['WITHDRAWN', 'WITHDRAWN'])
    await refused(scene.owner.withdrawals.undo(withdrawal.withdrawalId), 'NOT_FOUND')
    expect(await scene.owner.withdrawals.list()).toMatchObject([{ byOperator: true }])
    await operator.withdrawals.undo(withdrawal.withdrawalId)
    await (await scene.attest()).release(scene.parts())
  })

  it('of a signer stops all that it signed', async () => {
    const scene = await Scene.make(world)
    const session = await scene.attest()
    const { withdrawal } = await scene.owner.withdrawals.withdraw({ kind: 'signer', value: SIGNER })
    await refused(session.release(scene.parts()), 'RELEASE_DENIED', ['WITHDRAWN', 'WITHDRAWN'])
    // Of the kind that was withdrawn: a measurement of the same digits is another thing.
    await scene.owner.withdrawals.undo(withdrawal.withdrawalId)
    await scene.owner.withdrawals.withdraw({ kind: 'measurement', value: SIGNER })
    await session.release(scene.parts())
  })

  it('edited or taken away with SQL releases nothing', async () => {
    const scene = await Scene.make(world)
    const session = await scene.attest()
    const { withdrawal } = await scene.owner.withdrawals.withdraw({
      kind: 'measurement',
      value: scene.measurement,
    })
    const where = `where withdrawal_id = '${withdrawal.withdrawalId}'`
    world.database.edit(`update withdrawals set value = '${digest()}' ${where}`)
    await refused(session.release(scene.parts()), 'INTEGRITY')
    world.database.edit(`delete from withdrawals ${where}`)
    await refused(session.release(scene.parts()), 'INTEGRITY')
  })

  it('is nobody’s to make for others', async () => {
    const scene = await Scene.make(world)
    const value = scene.measurement
    const call = { kind: 'measurement', value } as const
    await refused(world.client().withdrawals.withdraw(call), 'UNAUTHENTICATED')
    await refused(scene.owner.operator.withdrawals.withdraw(call), 'UNAUTHENTICATED')
    const stranger = await world.enrol()
    await stranger.withdrawals.withdraw(call)
    await (await scene.attest()).release(scene.parts())
    expect(await scene.owner.withdrawals.list()).toEqual([])
    const scopes = ['policies:read', 'keys:manage'] as const
    const made = await scene.owner.accounts.createCredential({
      name: 'x',
      kind: 'bearer',
      scopes: [...scopes],
    })
    const limited = world.client(made.credential ?? '')
    await refused(limited.withdrawals.withdraw(call), 'NOT_ALLOWED', ['SCOPE'])
  })
})
