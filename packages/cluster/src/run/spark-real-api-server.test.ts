import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { parseAllDocuments, stringify } from 'yaml'
import {
  type Connection,
  connect,
  listRuns,
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
import { type Watched, watchObjects } from '../kubernetes/watch.ts'
import { ended, folderOfJob, PODS, startCloister } from './command.test.support.ts'
import { endDriver, makePods, makeSparkPod, reconcile, setPod } from './controllers.test.support.ts'
import { followed } from './followed.test.support.ts'
import { pathOf } from './paths.ts'
import { planOf, SPARK_SETS } from './plan.test.support.ts'
import { typed } from './spark-submit.test.support.ts'

// biome-ignore lint/suspicious/noExplicitAny: objects of Kubernetes, which its API server took.
type Any = any

const NAME = planOf().name
const DRIVER = `${NAME}-driver`
const AT = '2026-01-01T00:00:05.000000001Z'

describe.skipIf(WHY !== '')(
  `runs by Spark’s tools against Kubernetes’ own API server${WHY}`,
  { timeout: 300_000 },
  () => {
    let cluster: RealCluster
    let kubelet: Kubelet
    let admin: Connection
    let folder: string

    beforeAll(async () => {
      cluster = await realApiServer()
      kubelet = await Kubelet.start(cluster)
      admin = connect({ kubeconfig: cluster.kubeconfig })
      folder = await folderOfJob()
    }, 300_000)
    afterAll(async () => {
      await kubelet?.stop()
      await cluster?.stop()
      if (folder !== undefined) await rm(folder, { recursive: true, force: true })
    })

    const make = (name: string) => RealNamespace.make(cluster, kubelet, name)
    const application = (executors = 0, name = NAME) =>
      planOf({ form: 'spark-application', executors, name })
    const submit = (namespace: string, executors = 0, name = NAME) =>
      submitRun(admin, namespace, renderRun(application(executors, name)))
    const states = async (namespace: string) =>
      (await listRuns(admin, namespace)).runs.map(run => [run.form, run.state, run.executors])

    /** Whether an application is taken, without making it. */
    const tries = (namespace: RealNamespace, object: object) =>
      namespace.kubectl(
        ['create', '--dry-run=server', '--validate=strict', '--filename', '-'],
        JSON.stringify(object),
      )

    const held = () => {
      const { driver } = renderRun(application()) as Any
      return { ...driver, spec: { ...driver.spec, suspend: true } }
    }

    describe('without the operator', () => {
      it('are refused with that', async () => {
        const namespace = make('without-operator')
        await expect(submit(namespace.name)).rejects.toMatchObject({
          code: 'ABSENT',
          message: expect.stringContaining('is the Spark operator installed?'),
        })
        expect(namespace.objects()).toEqual([])
        expect(await listRuns(admin, namespace.name)).toEqual({ runs: [], unseen: [] })
      })

      it('are refused where the resource has no field to hold them by', async () => {
        const older = await operatorsResource()
        const [{ schema }] = older.spec.versions
        delete schema.openAPIV3Schema.properties.spec.properties.suspend
        installResource(cluster, older)
        const namespace = make('older-operator')
        await expect
          .poll(() => tries(namespace, held()).said, { timeout: 30_000 })
          .toContain('unknown field "spec.suspend"')
        await expect(submit(namespace.name)).rejects.toMatchObject({
          code: 'INVALID',
          message: expect.stringContaining('unknown field "spec.suspend"'),
        })
        expect(namespace.objects()).toEqual([])
      })
    })

    describe('with the operator’s resource', () => {
      beforeAll(async () => {
        installResource(cluster, await operatorsResource())
        const namespace = make('installed')
        await vi.waitFor(() => expect(tries(namespace, held()).said).toBe(''), 30_000)
      }, 60_000)

      it.each(Object.entries(SPARK_SETS))('what is rendered with %s is taken', async (_, plan) => {
        const namespace = make(`taken-${Object.values(SPARK_SETS).indexOf(plan)}`)
        const take = (objects: readonly object[]) => {
          const text = objects.map(object => stringify(object)).join('---\n')
          const { done, said } = namespace.create(text)
          expect(done, said).toBe(true)
          expect(said).toBe('')
        }
        if (plan.form === 'spark-submit') {
          const { driver, objects } = renderSparkSubmit(plan, namespace.name)
          take(objects)
          makeSparkPod(namespace, driver, { name: DRIVER, image: plan.image })
        } else {
          const { driver, others } = renderRun(plan)
          take([...others, driver])
          // Of the pod in it the resource says nothing: what is made of it is taken, too.
          reconcile(namespace, NAME)
          expect(namespace.get('Pod', DRIVER).spec.serviceAccountName).toBe(NAME)
        }
        expect(await states(namespace.name)).toEqual([[plan.form, 'waiting', plan.executors]])
        await removeRun(admin, namespace.name, NAME)
        expect(namespace.leftover()).toEqual([])
      })

      it.each([
        ['spark-application', []],
        ['spark-application', ['--executors', '2']],
        ['spark-submit', []],
        ['spark-submit', ['--executors', '2']],
      ])('what the command renders as %s with %j is taken', async (form, more) => {
        const namespace = make(`written-${form}-${more.length}`)
        const out = join(folder, namespace.name)
        const files = ['--out', out, '--namespace', namespace.name]
        const argv = ['cluster', 'render', 'reports/job.yaml', ...PODS, '--as', form, ...more]
        const isSubmit = form === 'spark-submit'
        const { code, stderr, stdout } = await ended(
          startCloister(folder, '', isSubmit ? [...argv, ...files] : argv),
        )
        expect(code, stderr).toBe(0)
        const made = isSubmit
          ? await typed(stdout.split('\n')[0] ?? '', folder, cluster.kubeconfig)
          : undefined
        const { done, said } = isSubmit
          ? { done: made?.code === 0, said: made?.said }
          : namespace.create(stdout)
        expect(done, said).toBe(true)
        const text = isSubmit ? await readFile(join(out, 'objects.yaml'), 'utf8') : stdout
        const written = parseAllDocuments(text).map(document => document.toJS())
        expect(namespace.objects()).toEqual(
          written.map(({ kind, metadata }) => `${kind} ${metadata.name}`).sort(),
        )
      })

      it.each([
        ['spec.notOurs', { notOurs: true }],
        ['spec.driver.readOnly', { driver: { readOnly: true } }],
      ])('one with the unknown field %s is not taken', async (field, more: Any) => {
        const namespace = make(`unknown-${field.toLowerCase().replaceAll('.', '-')}`)
        const { driver, others } = renderRun(application(1)) as Any
        const spec = { ...driver.spec, ...more, driver: { ...driver.spec.driver, ...more.driver } }
        const spoilt = { ...driver, spec }
        const { done, said } = namespace.create(stringify(spoilt))
        expect(done).toBe(false)
        expect(said).toContain(`unknown field "${field}"`)
        await expect(
          submitRun(admin, namespace.name, { driver: spoilt, others }),
        ).rejects.toMatchObject({
          code: 'INVALID',
          message: expect.stringContaining(`unknown field "${field}"`),
        })
        expect(namespace.objects()).toEqual([])
      })

      it('one leaves nothing where an object beside it is not taken, or is another’s', async () => {
        const namespace = make('beside')
        const { driver, others } = renderRun(application(1)) as Any
        const spoilt = others.map((one: Any) =>
          one.kind === 'Service' ? { ...one, spec: { ...one.spec, unknown: true } } : one,
        )
        await expect(
          submitRun(admin, namespace.name, { driver, others: spoilt }),
        ).rejects.toMatchObject({ code: 'INVALID' })
        expect(namespace.leftover()).toEqual([])
        const anothers = { apiVersion: 'v1', kind: 'Service', metadata: { name: NAME } }
        namespace.put({ ...anothers, spec: { ports: [{ port: 5432 }] } })
        await expect(submit(namespace.name, 1)).rejects.toMatchObject({ code: 'EXISTS' })
        namespace.collectGarbage()
        expect(namespace.objects()).toEqual([`Service ${NAME}`])
      })

      it('one of a namespace that is not there is refused with that', async () => {
        await expect(submit('nowhere')).rejects.toMatchObject({
          code: 'ABSENT',
          message: expect.stringContaining('namespaces "nowhere" not found'),
        })
      })

      it('one is held until its other objects are there, which are its own', async () => {
        const namespace = make('held')
        const seen: Any[] = []
        const over = new AbortController()
        let isThere = false
        const watching = watchObjects({
          ...{ connection: admin, path: pathOf(namespace.name, 'SparkApplication'), query: {} },
          signal: over.signal,
          onObjects: objects => {
            isThere = true
            seen.push(...objects)
            // The operator looks at it whenever it changes.
            if (objects.length > 0) reconcile(namespace, NAME)
          },
        })
        await expect.poll(() => isThere).toBe(true)
        const uid = await submit(namespace.name, 2)
        await expect.poll(() => namespace.get('Pod', DRIVER), { timeout: 10_000 }).toBeDefined()
        over.abort()
        await watching
        const version = (object: Watched): number =>
          Number((object as Any).metadata.resourceVersion)
        const [first] = seen
        const begun = seen.find(({ spec }) => spec.suspend === false)
        expect(first.spec.suspend).toBe(true)
        const before = seen.slice(0, seen.indexOf(begun))
        expect(before.every(({ status }) => /^SUSPEND|^$/.test(stateIn(status)))).toBe(true)
        const others = namespace
          .all()
          .filter(({ kind }) => kind !== 'Pod' && kind !== 'SparkApplication')
        expect(others).toHaveLength(7)
        for (const object of others) {
          expect(version(object)).toBeGreaterThan(version(first))
          expect(version(object)).toBeLessThan(version(begun))
          expect(object.metadata.ownerReferences).toEqual([
            {
              ...{ apiVersion: 'sparkoperator.k8s.io/v1beta2', kind: 'SparkApplication' },
              ...{ name: NAME, uid, controller: false, blockOwnerDeletion: false },
            },
          ])
        }
        expect(version(namespace.get('Pod', DRIVER))).toBeGreaterThan(version(begun))
        await removeRun(admin, namespace.name, NAME)
        expect(namespace.leftover()).toEqual([])
      })

      const stateIn = (status: Any): string => status?.applicationState?.state ?? ''

      it('one is followed with what is told of it, to its end', async () => {
        const namespace = make('followed')
        const follow = () => followed({ connection: admin, namespace: namespace.name, name: NAME })
        await submit(namespace.name, 1)
        expect(await states(namespace.name)).toEqual([['spark-application', 'waiting', 1]])
        const first = follow()
        const warning = (...of: readonly [string, string, string]) =>
          warningOf(namespace.name, ...of)
        reconcile(namespace, NAME)
        const message = '0/3 nodes are available: 3 Insufficient memory.'
        namespace.setStatus('Pod', DRIVER, {
          conditions: [{ type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message }],
        })
        await first.told(message)
        namespace.put(warning('SparkApplication', NAME, 'the operator has something to say'))
        await first.told('the operator has something to say')
        namespace.put(warning('Job', `${NAME}-executor`, 'exceeded quota'))
        await first.told('exceeded quota')
        const [executor = ''] = makePods(namespace, `${NAME}-executor`)
        for (const pod of [DRIVER, executor]) {
          namespace.bind(pod)
          setPod(namespace, pod, { running: {} }, { conditions: [] })
        }
        namespace.log(DRIVER, AT, 'attested')
        reconcile(namespace, NAME)
        expect(await states(namespace.name)).toEqual([['spark-application', 'running', 1]])
        await first.told('attested')
        await first.told(`${executor}`)
        first.leave()
        expect(await first.end).toBe(false)
        expect(first.troubles()).toEqual(['PODS', 'PODS', 'UNSCHEDULABLE'])
        expect(JSON.stringify(first.events)).toContain(`runs on ${MACHINE}`)
        const second = follow()
        await second.told('attested')
        namespace.log(DRIVER, '2026-01-01T00:00:06.000000001Z', 'done')
        await second.told('done')
        endDriver(namespace, NAME, DRIVER, 0)
        expect(await second.end).toBe(true)
        expect(second.log).toEqual(['attested', 'done'])
        expect(await states(namespace.name)).toEqual([['spark-application', 'completed', 1]])
        // The pod is gone before the application is.
        namespace.remove('Pod', DRIVER)
        expect(await follow().end).toBe(true)
        await removeRun(admin, namespace.name, NAME)
        expect(namespace.leftover()).toEqual([])
        expect(await follow().end).toMatchObject({ code: 'ABSENT' })
      })

      it('one ends with the exit code of its driver, or as the operator says', async () => {
        const namespace = make('failed')
        const follow = () => followed({ connection: admin, namespace: namespace.name, name: NAME })
        await submit(namespace.name)
        reconcile(namespace, NAME)
        namespace.bind(DRIVER)
        setPod(namespace, DRIVER, { running: {} })
        const failing = follow()
        await failing.told('runs on')
        endDriver(namespace, NAME, DRIVER, 3)
        expect(await failing.end).toMatchObject({ code: 'DRIVER', exitCode: 3 })
        expect(await states(namespace.name)).toEqual([['spark-application', 'failed', 0]])
        await removeRun(admin, namespace.name, NAME)
        expect(namespace.leftover()).toEqual([])
        await submit(namespace.name)
        reconcile(namespace, NAME, 'pods is forbidden')
        const refused = follow()
        expect(await refused.end).toMatchObject({
          code: 'LOST',
          message: expect.stringContaining('pods is forbidden'),
        })
        await removeRun(admin, namespace.name, NAME)
        expect(namespace.leftover()).toEqual([])
      })

      it('one is told from one of its name that came after it', async () => {
        const namespace = make('again')
        const uid = await submit(namespace.name)
        await removeRun(admin, namespace.name, NAME, uid)
        namespace.collectGarbage()
        const other = await submit(namespace.name)
        await expect(submit(namespace.name)).rejects.toMatchObject({ code: 'EXISTS' })
        await expect(removeRun(admin, namespace.name, NAME, uid)).rejects.toMatchObject({
          code: 'ABSENT',
        })
        const named = { connection: admin, namespace: namespace.name, name: NAME }
        expect(await followed({ ...named, uid }).end).toMatchObject({ code: 'LOST' })
        const second = followed({ ...named, uid: other })
        reconcile(namespace, NAME)
        namespace.bind(DRIVER)
        setPod(namespace, DRIVER, { running: {} })
        await second.told('runs on')
        // A pod that runs is told to end, and is there until it has.
        await removeRun(admin, namespace.name, NAME)
        expect(namespace.get('Pod', DRIVER).metadata.deletionTimestamp).toBeDefined()
        namespace.endLog(DRIVER)
        expect(await second.end).toMatchObject({ code: 'LOST' })
        namespace.remove('Pod', DRIVER)
        expect(namespace.leftover()).toEqual([])
      })

      it('one is removed, and nothing that is not its own', async () => {
        const namespace = make('removed')
        await submit(namespace.name, 1, 'other')
        await submit(namespace.name, 1)
        for (const name of ['other', NAME]) {
          reconcile(namespace, name)
          makePods(namespace, `${name}-executor`)
        }
        const { labels } = namespace.get('ServiceAccount', NAME).metadata
        const { driver } = renderRun(application()) as Any
        for (const object of [
          { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'garbage' } },
          // By whoever may label it, for who may remove it.
          {
            ...{ apiVersion: 'v1', kind: 'Service', metadata: { name: 'database', labels } },
            spec: { ports: [{ port: 5432 }] },
          },
          { ...driver, metadata: { name: 'another-clients' } },
          {
            ...{ apiVersion: 'v1', kind: 'Pod' },
            metadata: { name: 'another-clients-driver', labels: { 'spark-role': 'driver' } },
            spec: { containers: [{ name: 'x', image: 'x' }] },
          },
        ]) {
          namespace.put(object)
        }
        const own = ({ metadata }: Any) => metadata.name.startsWith(NAME)
        const others = () => namespace.all().flatMap(one => (own(one) ? [] : [one.metadata.uid]))
        const before = others()
        // Of each of two runs 7 beside the application, and two pods that have come.
        expect(before).toHaveLength(1 + 7 + 2 + 4)
        await removeRun(admin, namespace.name, NAME)
        namespace.collectGarbage()
        expect(namespace.all().filter(own)).toEqual([])
        expect(others()).toEqual(before)
        await expect(removeRun(admin, namespace.name, NAME)).rejects.toMatchObject({
          code: 'ABSENT',
        })
        await expect(removeRun(admin, namespace.name, 'another-clients')).rejects.toMatchObject({
          code: 'ABSENT',
        })
        expect(others()).toEqual(before)
        expect((await listRuns(admin, namespace.name)).runs).toMatchObject([{ name: 'other' }])
      })

      it('one that was created as it is rendered goes whole', async () => {
        const namespace = make('created')
        const { driver, others } = renderRun(application(2))
        for (const object of [...others, driver]) namespace.put(object)
        reconcile(namespace, NAME)
        makePods(namespace, `${NAME}-executor`)
        expect(await states(namespace.name)).toEqual([['spark-application', 'waiting', 2]])
        await removeRun(admin, namespace.name, NAME)
        expect(namespace.leftover()).toEqual([])
      })
    })
  },
)

/** What is told of an object. */
const warningOf = (namespace: string, kind: string, name: string, message: string) => ({
  ...{ apiVersion: 'v1', kind: 'Event', type: 'Warning', reason: 'OfATest', message },
  metadata: { name: `${name}-${kind.toLowerCase()}` },
  involvedObject: { kind, name, namespace },
})
