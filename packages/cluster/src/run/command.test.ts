import { spawn } from 'node:child_process'
import { readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { parse, parseAllDocuments } from 'yaml'
import { WritableApiServer } from '../kubernetes/writable-api-server.test.support.ts'
import { allKubernetesSchemas } from '../kubernetes-schemas.test.support.ts'
import { HAS_VECTORS } from '../repository.test.support.ts'
import { ended, folderOfJob, JOB, PODS, startCloister } from './command.test.support.ts'
import { endDriver, makePods, reconcile, setPod } from './controllers.test.support.ts'

const AT = '2026-01-01T00:00:05.000000001Z'

let folder: string
let server: WritableApiServer

beforeAll(async () => {
  folder = await folderOfJob()
})
afterAll(() => rm(folder, { recursive: true, force: true }))
const versions = HAS_VECTORS ? await allKubernetesSchemas('spark') : []

beforeEach(async () => {
  server = await WritableApiServer.start(versions[0])
})
afterEach(() => server.stop())

/** The command, as its user gives it. */
const started = (...argv: readonly string[]) => startCloister(folder, server.kubeconfig, argv)

const cloister = (...argv: readonly string[]) => ended(started(...argv))

/** Whether the driver’s job was let begin. */
const begun = () => server.until(() => server.get('Job', 'reports')?.spec.suspend === false)

/** The driver has run, said something and ended. */
function play(exitCode: number, name = 'reports'): void {
  const [driver = ''] = makePods(server, name)
  setPod(server, driver, { running: {} })
  server.log(driver, AT, 'a line \u001b[2J of the driver')
  endDriver(server, name, driver, exitCode)
}

const run = (...more: readonly string[]) => [
  'run',
  'reports/job.yaml',
  '--on',
  'k8s',
  ...PODS,
  ...more,
]

describe('cloister cluster render', { timeout: 60_000 }, () => {
  it('prints objects that are valid, with the job as pods have it, and makes none', async () => {
    const { code, stderr, stdout } = await cloister(
      'cluster',
      'render',
      'reports/job.yaml',
      ...PODS,
    )
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const objects = parseAllDocuments(stdout).map(document => document.toJS())
    for (const schemas of versions) {
      expect(objects.flatMap(object => schemas.mistakes(object))).toEqual([])
    }
    const { data } = objects.find(({ kind }) => kind === 'ConfigMap')
    expect(parse(data['job.yaml'])).toMatchObject({
      image: '/job/regression.image',
      arguments: ['--alpha=0.5'],
      inputs: { people: { folder: '/job/sealed/people', version: 1 } },
      outputs: { model: { folder: '/job/sealed/model' } },
    })
    expect(JSON.parse(data['kms.json'])).toHaveProperty('identityKey')
    expect(server.asked).toEqual([])
  })

  it('prints a SparkApplication in the place of the driver’s Job', async () => {
    const argv = ['cluster', 'render', 'reports/job.yaml', ...PODS, '--executors', '2']
    const { code, stderr, stdout } = await cloister(...argv, '--as', 'spark-application')
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const objects = parseAllDocuments(stdout).map(document => document.toJS())
    for (const schemas of versions) {
      expect(objects.flatMap(object => schemas.mistakes(object))).toEqual([])
    }
    // Last: the others are there when the operator looks at it.
    expect(objects.at(-1)).toMatchObject({
      kind: 'SparkApplication',
      metadata: { name: 'reports' },
    })
    const jobs = objects.filter(({ kind }) => kind === 'Job')
    expect(jobs.map(({ metadata }) => metadata.name)).toEqual(['reports-executor'])
    expect(server.asked).toEqual([])
  })

  it('writes what spark-submit takes, over nothing, and prints what is to be typed', async () => {
    const argv = ['cluster', 'render', 'reports/job.yaml', ...PODS, '--as', 'spark-submit']
    const written = [...argv, '--out', 'to submit', '--namespace', 'jobs']
    const { code, stderr, stdout } = await cloister(...written)
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const out = join(folder, 'to submit')
    const files = ['driver.yaml', 'objects.yaml', 'spark.properties']
    expect((await readdir(out)).sort()).toEqual(files)
    const [applied, submitted, watched] = stdout.trimEnd().split('\n')
    expect(applied).toBe(`kubectl create --namespace jobs --filename '${out}/objects.yaml'`)
    expect(submitted).toMatch(
      /^spark-submit --master "k8s:\/\/\$\(kubectl .* --deploy-mode cluster /,
    )
    expect(submitted).toContain(`--properties-file '${out}/spark.properties'`)
    expect(submitted).toContain(`podTemplateFile=file://${folder}/to%20submit/driver.yaml `)
    expect(watched).toBe('cloister cluster watch reports --namespace jobs')
    const text = await readFile(join(out, 'objects.yaml'), 'utf8')
    const objects = parseAllDocuments(text).map(document => document.toJS())
    for (const schemas of versions) {
      expect(objects.flatMap(object => schemas.mistakes(object))).toEqual([])
    }
    expect(objects.map(({ kind }) => kind)).toEqual([
      'ConfigMap',
      'ServiceAccount',
      'NetworkPolicy',
    ])
    const again = await cloister(...written)
    expect(again.code).toBe(2)
    expect(again.stderr).toContain('is there already')
    await rm(join(out, 'objects.yaml'))
    expect((await cloister(...written)).code).toBe(2)
    // None of one run beside those of another.
    expect((await readdir(out)).sort()).toEqual(files.toSpliced(1, 1))
    expect(server.asked).toEqual([])
  })

  it('prints what a shell reads as the folder that was named', async () => {
    const argv = ['cluster', 'render', 'reports/job.yaml', ...PODS, '--as', 'spark-submit']
    const named = join(folder, `it's "$(exit 7)" 100%\n#?`)
    const { code, stderr, stdout } = await cloister(...argv, '--out', named, '--json')
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const [made, submitted] = JSON.parse(stdout).commands as readonly string[]
    const words = async (line: string) => {
      const functions = `kubectl() { printf '%s\\0' "$@"; }; spark-submit() { kubectl "$@"; }`
      const child = spawn('bash', ['-c', `${functions}\n${line}`], { stdio: ['ignore', 'pipe', 2] })
      return (await ended(child)).stdout.split('\0')
    }
    expect(await words(made ?? '')).toContain(join(named, 'objects.yaml'))
    const submitting = await words(submitted ?? '')
    expect(submitting).toContain(join(named, 'spark.properties'))
    const template = 'spark.kubernetes.driver.podTemplateFile='
    const uri = submitting.find(word => word.startsWith(template)) ?? ''
    expect(fileURLToPath(uri.slice(template.length))).toBe(join(named, 'driver.yaml'))
  })

  it.each([
    ['an image in no place of the claim', 'image: ../image', 'not in the folder of the job file'],
    ['a folder of the host', 'unprotectedHostFolders: { logs: ./logs }', 'have no folders'],
  ])('refuses a job with %s', async (_what, text, said) => {
    const [field = ''] = text.split(':')
    const job = JOB.includes(`${field}:`)
      ? JOB.replace(new RegExp(`^${field}:.*$`, 'm'), text)
      : `${JOB}${text}\n`
    await writeFile(join(folder, 'reports/odd.yaml'), job)
    const { code, stderr } = await cloister('cluster', 'render', 'reports/odd.yaml', ...PODS)
    expect(code).toBe(2)
    expect(stderr).toContain(said)
  })

  it.each([
    ['no image', ['--claim', 'x', '--kms-peer', '203.0.113.7/32'], '--pod-image'],
    ['a key service without addresses', ['--claim', 'x', '--pod-image', 'x'], '--kms-peer'],
    [
      'a collateral service that is this machine',
      [...PODS, '--sgx', 'intel', '--pccs', 'https://localhost:8081'],
      '--pccs-peer: the URL names localhost, which in a pod is the pod itself',
    ],
    ['everybody for the key service', [...PODS, '--kms-peer', 'all'], '--kms-peer'],
    ['EPC without SGX', [...PODS, '--epc-mib', '64'], '--epc-mib'],
    ['another plugin', [...PODS, '--sgx', 'amd'], '--sgx'],
    [
      'SGX without a sandbox',
      [...PODS, '--sgx', 'intel', '--without-sandbox'],
      '--without-sandbox',
    ],
    ['another maker of pods', [...PODS, '--as', 'yarn'], '--as'],
    ['files of spark-submit for a Job', [...PODS, '--out', 'x'], '--out'],
    ['no place for what spark-submit takes', [...PODS, '--as', 'spark-submit'], '--out'],
    [
      'a namespace with more in it',
      [...PODS, '--as', 'spark-submit', '--out', 'x', '--namespace', 'jobs\nspark.master local'],
      'namespace: wanted',
    ],
    [
      'an image with more in it',
      [...PODS, '--as', 'spark-submit', '--out', 'x', '--pod-image', 'x\nspark.master local'],
      'container.image: wanted',
    ],
    ['a way out to nowhere', [...PODS, '--allow-egress', '203.0.113.7'], '--allow-egress'],
  ])('refuses %s', async (_what, argv, flag) => {
    const { code, stderr } = await cloister('cluster', 'render', 'reports/job.yaml', ...argv)
    expect(code).toBe(2)
    expect(stderr).toContain(flag)
  })

  it('refuses a template that weakens, by its path', async () => {
    const file = join(folder, 'template.yaml')
    await writeFile(file, 'apiVersion: v1\nkind: Pod\nspec: { hostNetwork: true }\n')
    const { code, stderr } = await cloister(
      ...['cluster', 'render', 'reports/job.yaml', ...PODS, '--driver-template', file],
    )
    expect(code).toBe(2)
    expect(stderr).toMatch(/spec\.hostNetwork.*\[TEMPLATE\]/)
  })
})

describe('cloister run --on k8s', { timeout: 300_000 }, () => {
  it('shows the driver’s log, ends as it did, and leaves nothing in the cluster', async () => {
    const running = cloister(...run())
    await begun()
    play(0)
    const { code, stderr, stdout } = await running
    expect(code, stderr).toBe(0)
    // What would clear a terminal is written out.
    expect(stdout).toBe('a line \\u001b[2J of the driver\n')
    expect(stderr).toContain('sealed/model/receipt.jws')
    expect(server.all('Job')).toEqual([])
    expect(server.all('ConfigMap')).toEqual([])
  })

  it('ends with the driver’s exit code where it failed', async () => {
    const running = cloister(...run('--json'))
    await begun()
    play(3)
    const { code, stderr } = await running
    expect(code).toBe(3)
    expect(JSON.parse(stderr)).toMatchObject({ error: { code: 'DRIVER' }, exitCode: 3 })
    expect(server.all('Job')).toEqual([])
  })

  it('submits a SparkApplication, and ends as its driver does', async () => {
    const running = cloister(...run('--as', 'spark-application', '--executors', '2'))
    await server.until(() => server.get('SparkApplication', 'reports')?.spec.suspend === false)
    reconcile(server, 'reports')
    const listed = await cloister('cluster', 'list')
    expect(listed.stdout).toMatch(/^reports +spark-application +waiting +2 /m)
    setPod(server, 'reports-driver', { running: {} })
    server.log('reports-driver', AT, 'attested')
    await server.until(() => server.asked.some(({ resource }) => resource === 'pods/log'))
    endDriver(server, 'reports', 'reports-driver', 3)
    const { code, stderr, stdout } = await running
    expect(code, stderr).toBe(3)
    expect(stdout).toBe('attested\n')
    for (const kind of ['SparkApplication', 'Job', 'Pod', 'ConfigMap']) {
      expect(server.all(kind)).toEqual([])
    }
  })

  it('says what is missing where there is no Spark operator', async () => {
    server.hasSparkOperator = false
    const { code, stderr } = await cloister(...run('--as', 'spark-application'))
    expect(code).toBe(5)
    expect(stderr).toContain('is the Spark operator installed?')
  })

  it('leaves it to spark-submit to run what that is given', async () => {
    const { code, stderr } = await cloister(...run('--as', 'spark-submit'))
    expect(code).toBe(2)
    expect(stderr).toContain('cloister cluster render reports/job.yaml --as spark-submit --out')
    expect(server.asked).toEqual([])
  })

  it('removes the run when it is interrupted', async () => {
    const child = started(...run())
    const running = ended(child)
    await begun()
    await server.until(() => server.watchers('pods') > 0)
    child.kill('SIGINT')
    expect((await running).code).toBe(130)
    expect(server.all('Job')).toEqual([])
  })

  it('leaves a detached run, which another client takes up, lists and removes', async () => {
    const { code, stdout } = await cloister(...run('--detach', '--executors', '2'))
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'reports\n' })
    const again = await cloister(...run())
    expect(again.code).toBe(2)
    expect(again.stderr).toContain('[EXISTS]')
    const left = started('cluster', 'watch', 'reports')
    const leaving = ended(left)
    await server.until(() => server.watchers('pods') > 0)
    left.kill('SIGINT')
    expect((await leaving).code).toBe(130)
    const listed = await cloister('cluster', 'list', '--json')
    expect(JSON.parse(listed.stdout)).toMatchObject({
      runs: [{ name: 'reports', executors: 2 }],
      unseen: [],
    })
    play(143)
    for (const _again of [1, 2]) {
      const watched = await cloister('cluster', 'watch', 'reports')
      expect(watched.code).toBe(143)
      expect(watched.stdout).toContain('of the driver')
    }
    expect((await cloister('cluster', 'remove', 'reports')).code).toBe(0)
    expect(server.all('Job')).toEqual([])
    expect((await cloister('cluster', 'watch', 'reports')).code).toBe(5)
  })

  it('names receipts in JSON where it has the job file, and nowhere else', async () => {
    const { stdout } = await cloister(...run('--detach', '--json'))
    const receipts = ['sealed/model/receipt.jws']
    expect(JSON.parse(stdout)).toEqual({ name: 'reports', namespace: 'default', receipts })
    play(0)
    const watched = await cloister('cluster', 'watch', 'reports', '--json')
    expect(JSON.parse(watched.stdout)).toEqual({
      ...{ outcome: 'completed', name: 'reports', namespace: 'default' },
      output: 'a line \u001b[2J of the driver\n',
    })
    const other = cloister(...run('--json', '--name', 'others'))
    await server.until(() => server.get('Job', 'others')?.spec.suspend === false)
    play(0, 'others')
    expect(JSON.parse((await other).stdout)).toMatchObject({ name: 'others', receipts })
  })

  it('says in JSON, too, which runs the user may not look for', async () => {
    await cloister(...run('--detach'))
    server.forbidden.add('list sparkapplications')
    const { code, stdout } = await cloister('cluster', 'list', '--json')
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({
      runs: [{ name: 'reports', form: 'job' }],
      unseen: [expect.stringMatching(/^not looked for among those of spark-application: .*forbid/)],
    })
    const { stderr } = await cloister('cluster', 'list')
    expect(stderr).toContain(JSON.parse(stdout).unseen[0])
  })
})
