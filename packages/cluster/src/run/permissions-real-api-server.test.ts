import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  type Connection,
  connect,
  listRuns,
  type RunForm,
  removeRun,
  renderRun,
  renderSparkSubmit,
  submitRun,
} from '../index.ts'
import { type RealCluster, realApiServer } from '../kubernetes/real-api-server.test.support.ts'
import {
  installResource,
  Kubelet,
  MACHINE,
  operatorsResource,
  RealNamespace,
  WHY_NO_NAMESPACE as WHY,
} from '../kubernetes/real-namespace.test.support.ts'
import { ended, folderOfJob, PODS, startCloister } from './command.test.support.ts'
import { endDriver, setPod } from './controllers.test.support.ts'
import { FORMS, KIND_OF } from './find.ts'
import { followed } from './followed.test.support.ts'
import { labelsOfRole } from './labels.ts'
import { pathOf } from './paths.ts'
import { permissionsIn, permissionsOn } from './permissions.test.support.ts'
import { planOf } from './plan.test.support.ts'
import { operatorLine, putSparkSubmit, typed, WHY_NO_SPARK } from './spark-submit.test.support.ts'

// biome-ignore lint/suspicious/noExplicitAny: objects of Kubernetes, which its API server took.
type Any = any

const AT = '2026-01-01T00:00:05.000000001Z'
const GROUP = 'rbac.authorization.k8s.io'

const JOBS = await permissionsOn('cloister-jobs')
const RUNS = [...JOBS, ...(await permissionsOn('cloister-spark'))]
const SUBMITTING = await permissionsOn('cloister-spark-submit')

const numbered = (permissions: readonly string[]) =>
  permissions.map((permission, at) => [permission, at] as const)

describe.skipIf(WHY !== '')(
  `a user’s permissions, by Kubernetes’ own API server${WHY}`,
  { timeout: 300_000 },
  () => {
    let cluster: RealCluster
    let kubelet: Kubelet
    let admin: Connection
    let user: Connection

    beforeAll(async () => {
      cluster = await realApiServer()
      kubelet = await Kubelet.start(cluster)
      installResource(cluster, await operatorsResource())
      admin = connect({ kubeconfig: cluster.kubeconfig })
      user = connect({ kubeconfig: cluster.userKubeconfig })
    }, 300_000)
    afterAll(async () => {
      await kubelet?.stop()
      await cluster?.stop()
    })

    /** Lets the user do this in a new namespace, and nothing else anywhere. */
    async function letUser(name: string, permissions: readonly string[]): Promise<RealNamespace> {
      const namespace = RealNamespace.make(cluster, kubelet, name)
      const rules = permissions.map(permission => {
        const [verb, group, resource] = permission.split(' ')
        return { apiGroups: [group], resources: [resource], verbs: [verb] }
      })
      const head = { apiVersion: `${GROUP}/v1`, metadata: { name: 'of-a-test' } }
      namespace.put({ ...head, kind: 'Role', rules })
      namespace.put({
        ...{ ...head, kind: 'RoleBinding', subjects: [{ kind: 'User', name: 'user' }] },
        roleRef: { apiGroup: GROUP, kind: 'Role', name: 'of-a-test' },
      })
      await expect.poll(() => isUserLet(name, permissions[0] ?? ''), { timeout: 30_000 }).toBe(true)
      return namespace
    }

    async function isUserLet(namespace: string, permission: string): Promise<boolean> {
      const [verb, group, resource] = permission.split(' ')
      const { status } = (await user.ask({
        ...{ method: 'POST', path: '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews' },
        body: {
          ...{ apiVersion: 'authorization.k8s.io/v1', kind: 'SelfSubjectAccessReview' },
          spec: { resourceAttributes: { namespace, verb, group, resource } },
        },
      })) as Any
      return status.allowed
    }

    /** What the user is told who submits, lists, follows and removes a run of each form. */
    async function complaintsIn(namespace: RealNamespace): Promise<string> {
      const all: string[] = []
      for (const form of FORMS) all.push(...(await complaintsOf(namespace, form)))
      return all.join('\n')
    }

    async function complaintsOf(
      namespace: RealNamespace,
      form: RunForm,
    ): Promise<readonly string[]> {
      const { name } = namespace
      const complaints: string[] = []
      const act = async <T>(done: () => Promise<T>): Promise<T | undefined> => {
        try {
          return await done()
        } catch (error) {
          complaints.push(String(error))
          return undefined
        }
      }
      const plan = planOf({ form, name: form, executors: 1 })
      if (form === 'spark-submit') {
        for (const body of renderSparkSubmit(plan, name).objects) {
          await admin.ask({ method: 'POST', path: pathOf(name, body.kind), body })
        }
      } else {
        const uid = await act(() => submitRun(user, name, renderRun(plan)))
        if (uid === undefined) return complaints
      }
      const pod = await runDriver(namespace, form)
      const { runs = [], unseen = [] } = (await act(() => listRuns(user, name))) ?? {}
      complaints.push(...unseen)
      if (!runs.some(run => run.name === form)) complaints.push('it is not listed')
      complaints.push(...(await complaintsOfFollowing(namespace, form, pod)))
      await act(() => removeRun(user, name, form))
      return complaints
    }

    /** Follows a run whose driver ends when all has been asked for that is. */
    async function complaintsOfFollowing(
      namespace: RealNamespace,
      form: RunForm,
      pod: string,
    ): Promise<readonly string[]> {
      const { name } = namespace
      const before = (await cluster.asked(name)).length
      const run = followed({ connection: user, namespace: name, name: form })
      let hasEnded = false
      void run.end.then(() => {
        hasEnded = true
      })
      const hasAskedAll = async () => {
        const asked = (await cluster.asked(name)).slice(before)
        const isWatched = (collection: string) =>
          asked.some(({ resource, verb }) => verb === 'watch' && resource === collection)
        const troubles = run.troubles()
        return (
          isWatched('pods') &&
          isWatched(`${KIND_OF[form].toLowerCase()}s`) &&
          (isWatched('events') || troubles.includes('EVENTS')) &&
          (run.log.length > 0 || troubles.includes('LOG'))
        )
      }
      await expect
        .poll(async () => hasEnded || (await hasAskedAll()), { timeout: 30_000 })
        .toBe(true)
      namespace.endLog(pod)
      await statusOf(name, pod, 'Succeeded', { terminated: { exitCode: 0 } })
      const end = await run.end
      const told = run.events.flatMap(event => (event.kind === 'trouble' ? [event.message] : []))
      return end === true ? told : [...told, String(end)]
    }

    const statusOf = (namespace: string, pod: string, phase: string, state: object) =>
      admin.ask({
        ...{ method: 'PATCH', path: `${pathOf(namespace, 'Pod', pod)}/status` },
        body: { status: { phase, containerStatuses: [{ name: 'cloister', state }] } },
      })

    /** Has a driver run, and say something. @returns its pod's name */
    async function runDriver(namespace: RealNamespace, form: RunForm): Promise<string> {
      const { name } = namespace
      const kind = KIND_OF[form]
      const made = await admin.ask({ method: 'GET', path: pathOf(name, kind, form) })
      const { apiVersion, metadata } = made as Any
      const pod = `${form}-driver`
      const ofJob = {
        labels: labelsOfRole(form, 'driver'),
        ownerReferences: [{ apiVersion, kind, name: form, uid: metadata.uid }],
      }
      const bySpark = { labels: { ...ofJob.labels, 'spark-role': 'driver' } }
      await admin.ask({
        ...{ method: 'POST', path: pathOf(name, 'Pod') },
        body: {
          ...{ apiVersion: 'v1', kind: 'Pod' },
          metadata: { name: pod, ...(form === 'job' ? ofJob : bySpark) },
          spec: { nodeName: MACHINE, containers: [{ name: 'cloister', image: 'x' }] },
        },
      })
      await statusOf(name, pod, 'Running', { running: {} })
      namespace.log(pod, AT, 'attested')
      return pod
    }

    it('are those of the page for runs of each form, and no more', async () => {
      const namespace = await letUser('permitted', RUNS)
      expect(await complaintsIn(namespace)).toBe('')
      const used = permissionsIn(await cluster.asked(namespace.name))
      expect(used).toEqual([...RUNS].sort())
    })

    it.each(numbered(RUNS))('without %j are told of as that', async (permission, at) => {
      const rest = RUNS.filter(one => one !== permission)
      const [verb, , resource] = permission.split(' ')
      expect(await complaintsIn(await letUser(`without-${at}`, rest))).toContain(
        `cannot ${verb} resource "${resource}" in API group`,
      )
    })

    describe.skipIf(WHY_NO_SPARK !== '')(`for spark-submit${WHY_NO_SPARK}`, () => {
      const POD = 'reports-driver'
      let folder: string
      let bin: string

      beforeAll(async () => {
        folder = await folderOfJob()
        bin = await putSparkSubmit(folder)
      })
      afterAll(() => rm(folder, { recursive: true, force: true }))

      /** What is to be typed: the second is spark-submit's. */
      async function commandsIn(
        { name }: RealNamespace,
        ...more: readonly string[]
      ): Promise<readonly [string, string]> {
        const out = ['--out', join(folder, `submit ${name}`), '--namespace', name]
        const argv = ['cluster', 'render', 'reports/job.yaml', ...PODS, '--as', 'spark-submit']
        const { code, stderr, stdout } = await ended(
          startCloister(folder, '', ['--json', ...argv, ...out, ...more]),
        )
        expect(code, stderr).toBe(0)
        return JSON.parse(stdout).commands
      }

      const type = (line: string) => typed(line, bin, cluster.userKubeconfig)

      it('are those of the page: the driver is made, waited for, followed, removed', async () => {
        const creating = JOBS.filter(permission => permission.startsWith('create '))
        const namespace = await letUser('submitted', [...creating, ...SUBMITTING])
        const { name } = namespace
        const states = async () => (await listRuns(admin, name)).runs.map(({ state }) => state)
        const [create, submit] = await commandsIn(namespace, '--executors', '2')
        const made = await type(create)
        expect(made.code, made.said).toBe(0)
        expect(await states()).toEqual(['waiting'])
        const submitted = type(submit)
        const asked = async () => permissionsIn(await cluster.asked(name))
        await expect.poll(asked, { timeout: 120_000 }).toContain('watch  pods')
        const run = followed({ connection: admin, namespace: name, name: 'reports' })
        namespace.bind(POD)
        setPod(namespace, POD, { running: {} })
        namespace.log(POD, AT, 'attested')
        await run.told('attested')
        expect(await states()).toEqual(['running'])
        const { spec } = namespace.get('Pod', POD)
        expect(spec.containers[0].args.slice(-3)).toEqual([
          ...['--class', 'cloister', 'local:///etc/cloister/job.yaml'],
        ])
        endDriver(namespace, 'reports', POD, 3)
        expect(await run.end).toMatchObject({ code: 'DRIVER', exitCode: 3 })
        const { code, said } = await submitted
        expect(code, said).toBe(0)
        expect(said).toContain('exit code: 3')
        expect(await states()).toEqual(['failed'])
        await removeRun(admin, name, 'reports')
        expect(namespace.leftover()).toEqual([])
      })

      it('are as many where the operator types it', async () => {
        const namespace = await letUser('operated', SUBMITTING)
        const plan = planOf({ form: 'spark-application' })
        await submitRun(admin, namespace.name, renderRun(plan))
        const application = namespace.get('SparkApplication', plan.name)
        const own = await mkdtemp(join(folder, 'operator-'))
        const { code, said } = await type(await operatorLine(application, namespace.name, own))
        expect(code, said).toBe(0)
        const { metadata, spec } = namespace.get('Pod', `${plan.name}-driver`)
        const { template } = application.spec.driver
        expect(metadata.labels).toMatchObject(template.metadata.labels)
        expect(spec.containers[0].command).toEqual(template.spec.containers[0].command)
        await removeRun(admin, namespace.name, plan.name)
        expect(namespace.leftover()).toEqual([])
      })

      const TAKEN_BACK = 'delete  pods'
      const needed = SUBMITTING.filter(permission => permission !== TAKEN_BACK)

      it.each(numbered(needed))('without %j it fails, and says so', async (permission, at) => {
        const rest = SUBMITTING.filter(one => one !== permission)
        const namespace = await letUser(`not-submitting-${at}`, rest)
        const [create, submit] = await commandsIn(namespace)
        const made = await typed(create, bin, cluster.kubeconfig)
        expect(made.code, made.said).toBe(0)
        const { code, said } = await type(submit)
        expect(code, said).not.toBe(0)
        const [verb, , resource] = permission.split(' ')
        // Of a watch by web socket the server says no more than 403.
        expect(said).toMatch(
          verb === 'watch' ? /403 on websocket/ : `cannot ${verb} resource "${resource}"`,
        )
        // One that is not waited for runs all the same.
        const isLeft = verb === 'get' || verb === 'watch'
        expect(namespace.get('Pod', POD) !== undefined).toBe(isLeft)
      })

      it(`without ${JSON.stringify(TAKEN_BACK)} a pod is left where what belongs to it is refused`, async () => {
        const rest = SUBMITTING.filter(one => one !== TAKEN_BACK && one !== 'patch  services')
        const namespace = await letUser('not-taken-back', rest)
        const [create, submit] = await commandsIn(namespace)
        expect(await typed(create, bin, cluster.kubeconfig)).toMatchObject({ code: 0 })
        const { code, said } = await type(submit)
        expect(code, said).not.toBe(0)
        expect(said).not.toContain('resource "services"')
        expect(namespace.get('Pod', POD)).toBeDefined()
        // By the name that it has.
        await removeRun(admin, namespace.name, 'reports')
        expect(namespace.leftover()).toEqual([])
      })
    })
  },
)
