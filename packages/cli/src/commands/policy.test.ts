import { randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createSimPlatform, readAppraisalPolicy, type SimPlatform } from '@cloister/attestation'
import {
  AttestedSession,
  type JobStatement,
  jobDigest,
  jobTemplateOf,
  KmsClient,
} from '@cloister/kms'
import { ENROLMENT_FILE, type RunningKms, startKms } from '@cloister/kms/server'
import { newDatasetId, newFileId } from '@cloister/sealed'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { stringify } from 'yaml'
import { cloisterAt } from '../cloister.test.support.ts'
import { publishCollateral } from '../simulated-platform.ts'

/** A day of the week that is not today’s. */
const QUIET = new Date(Date.now() + 3 * 24 * 60 * 60 * 1000)

let folder: string
let kms: RunningKms
let platform: SimPlatform
let owner: KmsClient
let keyId: string
let job: JobStatement

const cloister = (...argv: readonly string[]) =>
  cloisterAt({ home: join(folder, 'home'), cwd: folder }, ...argv)

async function json<T>(...argv: readonly string[]): Promise<T> {
  const { code, stderr, stdout } = await cloister('--json', ...argv)
  expect([argv, code, stderr]).toEqual([argv, 0, ''])
  return JSON.parse(stdout)
}

const write = (name: string, value: unknown) =>
  writeFile(join(folder, name), typeof value === 'string' ? value : stringify(value))

const digestOf = (of: JobStatement) => Buffer.from(jobDigest(of)).toString('hex')

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cloister-policy-'))
  platform = createSimPlatform({ createdAt: new Date(Date.now() - 60_000) })
  await publishCollateral(platform, join(folder, 'collateral'))
  kms = await startKms({
    dataDir: join(folder, 'data'),
    port: 0,
    rootKey: { kind: 'file' },
    roots: [platform.trustRoot],
    collateralDir: join(folder, 'collateral'),
    appraisal: readAppraisalPolicy({
      version: 1,
      tees: ['sim'],
      platform: { tcbStatuses: ['UpToDate'] },
    }),
  })
  const token = (await readFile(join(folder, 'data', ENROLMENT_FILE), 'utf8')).trim()
  const anyone = new KmsClient(kms.pin)
  const { credential } = await anyone.enrol(token)
  anyone.close()
  owner = new KmsClient(kms.pin, { credential })
  keyId = (await owner.createKey({ mode: 'attested-only', alias: 'patients' })).keyId
  await mkdir(join(folder, 'home'), { mode: 0o700 })
  await writeFile(join(folder, 'home', 'kms.json'), JSON.stringify(kms.pin), { mode: 0o600 })
  await writeFile(join(folder, 'home', 'credential'), credential, { mode: 0o600 })
  job = {
    version: 1,
    measurement: randomBytes(32).toString('hex'),
    command: { kind: 'sql', queries: [{ output: 'result', sql: 'SELECT 1' }] },
    environment: {},
    inputs: [],
    outputs: [{ name: 'result', datasetId: newDatasetId(), cmkId: keyId, format: 'csv' }],
    resources: { memoryMiB: 512 },
    kms: [kms.pin.identityKey],
  }
}, 60_000)

afterAll(async () => {
  owner.close()
  await kms.close()
  await rm(folder, { recursive: true, force: true })
})

/** Runs an instance of a job up to its release. */
async function release(of: JobStatement): Promise<void> {
  const client = new KmsClient(kms.pin)
  try {
    const session = await AttestedSession.attest({
      client,
      tee: 'sim',
      job: of,
      quoteFor: async reportData =>
        platform.quote({
          mrEnclave: Buffer.from(of.measurement, 'hex'),
          mrSigner: new Uint8Array(32).fill(2),
          isvProdId: 1,
          isvSvn: 1,
          debug: false,
          reportData,
        }),
    })
    const file = { fileId: newFileId(), fixedDigestHex: randomBytes(32).toString('hex') }
    const outputs = new Map([[of.outputs[0]?.datasetId ?? '', [file]]])
    await session.release({ inputs: new Map(), outputs })
  } finally {
    client.close()
  }
}

const template = () => ({
  images: [{ measurement: job.measurement }],
  jobDigests: [digestOf(job)],
  tees: ['sim'],
  tcbStatuses: ['UpToDate'],
  maxReleases: 2,
})

describe('a policy', () => {
  it('is tested before it is added, added, explained and removed', {
    timeout: 240_000,
  }, async () => {
    await write('policy.yaml', { keyId, ...template() })
    await write(
      'stop.cedar',
      `forbid (principal, action, resource == Cloister::Key::"${keyId}")
      when { context.weekday == ${QUIET.getUTCDay() === 0 ? 7 : QUIET.getUTCDay()} };`,
    )
    await write('cases.yaml', {
      version: 1,
      policies: ['policy.yaml', 'stop.cedar'],
      given: {
        key: keyId,
        evidence: { measurement: job.measurement, tee: 'sim' },
        jobDigest: digestOf(job),
        at: new Date().toISOString(),
      },
      cases: [
        { name: 'the job', expect: 'permit' },
        { name: 'on a quiet day', at: QUIET.toISOString(), expect: 'deny', reasons: ['FORBIDDEN'] },
        { name: 'another job', jobDigest: 'a'.repeat(64), expect: 'deny', reasons: ['JOB_DIGEST'] },
        { name: 'too often', releases: { policy: 2 }, expect: 'deny', reasons: ['RELEASE_LIMIT'] },
        { name: 'in debug mode', evidence: { debug: true }, expect: 'deny', reasons: ['DEBUG'] },
      ],
    })
    const tested = await cloister('policy', 'test', 'cases.yaml')
    expect([tested.code, tested.stdout]).toEqual([0, expect.stringContaining('5 of 5 as expected')])
    const alone = await cloister('policy', 'test', 'cases.yaml', '--policy', 'policy.yaml')
    expect(alone.code).toBe(3)
    expect(alone.stdout).toContain('FAIL  on a quiet day: wanted deny')
    const stored = (await readFile(join(folder, 'cases.yaml'), 'utf8')).replace(
      /policies:\n( {2}- .*\n)+/,
      '',
    )
    await write('stored.yaml', stored)
    const none = await json<{ failed: number }>('policy', 'test', 'cases.yaml')
    expect(none.failed).toBe(0)
    const nothing = await cloister('policy', 'test', 'stored.yaml')
    expect([nothing.code, nothing.stdout]).toEqual([3, expect.stringContaining('NO_POLICY')])

    await write('keyless.yaml', template())
    const added = await json<{ policyId: string; keyId: string }>(
      ...['policy', 'add', '--file', 'keyless.yaml', '--key', 'patients'],
    )
    expect(added.keyId).toBe(keyId)
    const forbid = await json<{ policyId: string }>('policy', 'add', '--file', 'stop.cedar')
    const same = await cloister('policy', 'test', 'stored.yaml')
    expect([same.code, same.stdout]).toEqual([0, expect.stringContaining('5 of 5')])
    const shown = await cloister('policy', 'show', added.policyId)
    expect(shown.stdout).toContain('releases so far: 0')
    expect(shown.stdout).toContain('.releases < 2')
    expect((await cloister('policy', 'list')).stdout).toContain('forbid')

    await release(job)
    await expect(release({ ...job, resources: { memoryMiB: 513 } })).rejects.toMatchObject({
      code: 'RELEASE_DENIED',
    })
    const explained = await cloister('policy', 'explain')
    expect(explained.code).toBe(0)
    expect(explained.stdout).toContain(`policy ${added.policyId}, the nearest:`)
    expect(explained.stdout).toContain(`wanted ${digestOf(job)}`)
    expect(explained.stdout).toMatch(/change add a policy whose jobDigests have [0-9a-f]{64}/)
    const { index } = await json<{ index: number }>('policy', 'explain')
    expect((await cloister('policy', 'explain', '--audit', String(index))).stdout).toBe(
      explained.stdout,
    )
    expect((await cloister('policy', 'explain', '--audit', '0')).code).toBe(2)
    await write('request.yaml', {
      key: keyId,
      evidence: { measurement: job.measurement, tee: 'sim', tcbStatus: 'OutOfDate' },
      jobDigest: digestOf(job),
      at: new Date().toISOString(),
    })
    const described = await cloister('policy', 'explain', '--request', 'request.yaml')
    expect([described.code, described.stdout]).toEqual([3, expect.stringContaining('TCB_STATUS')])
    await json('policy', 'remove', forbid.policyId)
    expect((await cloister('policy', 'list')).stdout).not.toContain('forbid')
  })

  it('takes a job template, in a file of its own', { timeout: 60_000 }, async () => {
    await write('jobs.yaml', jobTemplateOf(job))
    const { jobDigests: _digests, ...rest } = template()
    await write('family.yaml', { keyId, ...rest, jobTemplate: 'jobs.yaml' })
    await write('job.json', JSON.stringify(job))
    await write('family-cases.yaml', {
      version: 1,
      policies: ['family.yaml'],
      given: { key: keyId, evidence: { tee: 'sim' } },
      cases: [
        { name: 'the job', job: 'job.json', expect: 'permit' },
        {
          name: 'no job',
          evidence: { measurement: job.measurement },
          expect: 'deny',
          reasons: ['JOB_TEMPLATE'],
        },
      ],
    })
    const tested = await cloister('policy', 'test', 'family-cases.yaml')
    expect([tested.code, tested.stdout]).toEqual([0, expect.stringContaining('2 of 2')])
    expect((await cloister('policy', 'add', '--file', 'family.yaml')).code).toBe(0)
    await write('jobs.yaml', { ...jobTemplateOf(job), holes: { x: { kind: 'regex' } } })
    const wrong = await cloister('policy', 'add', '--file', 'family.yaml')
    expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringMatching(/jobs\.yaml:\d+:\d+: /)])
  })

  it('names no key by alias, and says what is wrong with a file', { timeout: 60_000 }, async () => {
    await write('alias.cedar', 'permit (principal, action, resource == Cloister::Key::"patients");')
    const alias = await cloister('policy', 'add', '--file', 'alias.cedar')
    expect([alias.code, alias.stderr]).toEqual([3, expect.stringContaining('never by alias')])
    await write(
      'wide.cedar',
      `permit (principal, action, resource == Cloister::Key::"${keyId}")
      when { principal.measurement == "${job.measurement}" };`,
    )
    const wide = await cloister('policy', 'add', '--file', 'wide.cedar')
    expect([wide.code, wide.stderr]).toEqual([3, expect.stringContaining('allowAnyJob')])
    const said = await cloister('policy', 'add', '--file', 'wide.cedar', '--allow-any-job')
    expect([said.code, said.stderr]).toEqual([0, expect.stringContaining('ANY JOB')])
    const mixed = await cloister('policy', 'add', '--file', 'policy.yaml', '--tee', 'sim')
    expect([mixed.code, mixed.stderr]).toEqual([2, expect.stringContaining('--file says all')])
    await write('broken.yaml', 'version: 1\ncases: [')
    const broken = await cloister('policy', 'test', 'broken.yaml')
    expect([broken.code, broken.stderr]).toEqual([2, expect.stringMatching(/broken\.yaml:\d+:\d+/)])
  })
})

describe('a withdrawal', () => {
  it('says what it stops and what not, and is undone', { timeout: 60_000 }, async () => {
    const other = { ...job, measurement: randomBytes(32).toString('hex') }
    await owner.addPolicy({
      keyId,
      measurement: other.measurement,
      jobDigest: digestOf(other),
      tees: ['sim'],
      tcbStatuses: ['UpToDate'],
    })
    const withdraw = ['policy', 'withdraw', '--measurement', other.measurement]
    const told = await cloister(...withdraw, '--reason', 'a flaw')
    expect(told.stdout).toMatch(/tokens given before end by \d{4}-/)
    expect(told.stdout).toContain('cannot be taken back')
    await expect(release(other)).rejects.toMatchObject({ code: 'RELEASE_DENIED' })
    expect((await cloister('policy', 'explain')).stdout).toContain('WITHDRAWN')
    expect((await cloister('policy', 'withdraw', '--list')).stdout).toContain('a flaw')
    const [, id = ''] = /--undo ([0-9a-f]{32})/.exec(told.stdout) ?? []
    const operator = ['--operator-token-file', join(folder, 'data', 'operator-token')]
    const theirs = await cloister('policy', 'withdraw', '--undo', id, ...operator)
    expect([theirs.code, theirs.stderr]).toEqual([3, expect.stringContaining('NOT_FOUND')])
    await json('policy', 'withdraw', '--undo', id)
    await release(other)
    await json(...withdraw, ...operator)
    await expect(release(other)).rejects.toMatchObject({ code: 'WITHDRAWN' })
    expect((await cloister('policy', 'withdraw')).code).toBe(2)
  })
})
