import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  type Connection,
  connect,
  listRuns,
  removeRun,
  renderRun,
  renderSparkSubmit,
  submitRun,
} from '../index.ts'
import { WritableApiServer } from '../kubernetes/writable-api-server.test.support.ts'
import { allKubernetesSchemas } from '../kubernetes-schemas.test.support.ts'
import { HAS_VECTORS } from '../repository.test.support.ts'
import { endDriver, makePods, makeSparkPod, reconcile, setPod } from './controllers.test.support.ts'
import { followed } from './followed.test.support.ts'
import { permissionsIn, permissionsOn } from './permissions.test.support.ts'
import { planOf } from './plan.test.support.ts'

const NAME = planOf().name
const DRIVER = `${NAME}-driver`
const NAMESPACE = 'jobs'
const AT = '2026-01-01T00:00:05.000000001Z'
const KINDS = ['Job', 'Pod', 'ConfigMap', 'ServiceAccount', 'NetworkPolicy', 'Service'] as const

let server: WritableApiServer
let connection: Connection

const [schemas] = HAS_VECTORS ? await allKubernetesSchemas('spark') : []

beforeEach(async () => {
  server = await WritableApiServer.start(schemas)
  connection = connect({ kubeconfig: server.kubeconfig })
})
afterEach(() => server.stop())

const follow = (driverMs?: number) =>
  followed({
    ...{ connection, namespace: NAMESPACE, name: NAME },
    ...(driverMs === undefined ? {} : { driverMs }),
  })
const remove = () => removeRun(connection, NAMESPACE, NAME)
const states = async () => {
  const { runs } = await listRuns(connection, NAMESPACE)
  return runs.map(({ form, state, executors }) => [form, state, executors])
}
const run = () => {
  setPod(server, DRIVER, { running: {} })
  server.log(DRIVER, AT, 'attested')
}

describe('a run that is submitted as a SparkApplication', () => {
  const submit = (executors = 0) =>
    submitRun(connection, NAMESPACE, renderRun(planOf({ form: 'spark-application', executors })))
  const watched = () => server.until(() => server.watchers('sparkapplications') > 0)

  it('is held until its other objects are there, which are its own', async () => {
    const seen = new Set<string>()
    const done = submit(2)
    await server.until(() => {
      const application = () => server.get('SparkApplication', NAME)
      if (application()?.spec.suspend === true) {
        // The operator looks at it at once.
        if (application().status === undefined) reconcile(server, NAME)
        seen.add(application().status.applicationState.state)
      }
      return application()?.spec.suspend === false
    })
    await done
    expect([...seen]).toContain('SUSPENDED')
    expect([...seen].join()).not.toContain('SUBMITTED')
    expect(server.all('Pod')).toEqual([])
    const { uid } = server.get('SparkApplication', NAME).metadata
    const others = KINDS.flatMap(kind => server.all(kind))
    expect(others).toHaveLength(7)
    for (const { metadata } of others) {
      expect(metadata.ownerReferences).toMatchObject([
        { kind: 'SparkApplication', name: NAME, uid },
      ])
    }
    reconcile(server, NAME)
    expect(server.get('Pod', DRIVER).spec.serviceAccountName).toBe(NAME)
  })

  it.each([
    [
      'the cluster lets nobody make one',
      'REFUSED',
      () => server.forbidden.add('create sparkapplications'),
    ],
    [
      'an object beside it is refused',
      'REFUSED',
      () => server.forbidden.add('create networkpolicies'),
    ],
    [
      'there is no operator',
      'ABSENT',
      () => {
        server.hasSparkOperator = false
      },
    ],
  ] as const)('leaves nothing where %s', async (_what, code, prepare) => {
    prepare()
    await expect(submit()).rejects.toMatchObject({ code })
    for (const kind of ['SparkApplication', ...KINDS]) expect(server.all(kind)).toEqual([])
  })

  it('is told of what is not there: the operator’s resource, or the namespace', async () => {
    server.hasNamespace = false
    await expect(submit()).rejects.toMatchObject({
      code: 'ABSENT',
      message: expect.stringContaining('namespaces "jobs" not found'),
    })
    server.hasSparkOperator = false
    await expect(submit()).rejects.toMatchObject({
      code: 'ABSENT',
      message: expect.stringContaining('is the Spark operator installed?'),
    })
  })

  it('is followed by the driver’s pod, and ends as that does', async () => {
    await submit(1)
    expect(await states()).toEqual([['spark-application', 'waiting', 1]])
    const first = follow()
    await watched()
    reconcile(server, NAME)
    const [executor = ''] = makePods(server, `${NAME}-executor`)
    run()
    setPod(server, executor, { running: {} })
    reconcile(server, NAME)
    expect(await states()).toEqual([['spark-application', 'running', 1]])
    await first.told('attested')
    first.leave()
    expect(await first.end).toBe(false)
    const second = follow()
    await second.told('attested')
    endDriver(server, NAME, DRIVER, 0)
    expect(await second.end).toBe(true)
    expect(second.troubles()).toEqual([])
    expect(second.events.map(event => 'pod' in event && event.pod)).toContain(executor)
    expect(await states()).toEqual([['spark-application', 'completed', 1]])
    // The pod is gone before the application is.
    server.remove(server.get('Pod', DRIVER))
    expect(await follow().end).toBe(true)
  })

  it.each([1, 3, 143])('ends with the exit code of its driver: %i', async exitCode => {
    await submit()
    reconcile(server, NAME)
    run()
    endDriver(server, NAME, DRIVER, exitCode)
    const { applicationState } = server.get('SparkApplication', NAME).status
    expect(applicationState).toMatchObject({ state: 'FAILED' })
    const failed = follow()
    expect(await failed.end).toMatchObject({ code: 'DRIVER', exitCode })
    expect(failed.log).toEqual(['attested'])
  })

  it('that the operator cannot submit is told of with the reason', async () => {
    await submit()
    const failing = follow()
    await watched()
    reconcile(server, NAME, 'failed to run spark-submit: pods is forbidden')
    expect(await failing.end).toMatchObject({
      code: 'LOST',
      message: expect.stringContaining('pods is forbidden'),
    })
    expect(await states()).toEqual([['spark-application', 'failed', 0]])
    server.setStatus('SparkApplication', NAME, {
      applicationState: { state: 'SUBMISSION_FAILED', errorMessage: 'not yet' },
    })
    const told = follow()
    await told.told('not yet')
    expect(told.troubles()).toEqual(['OPERATOR'])
    told.leave()
  })

  it('that cannot be removed again where it was refused is told of as left', async () => {
    server.forbidden.add('create networkpolicies').add('delete sparkapplications')
    await expect(submit()).rejects.toMatchObject({
      code: 'REFUSED',
      message: expect.stringMatching(/networkpolicies.*; the run .* is left there, held/),
    })
    expect(await states()).toEqual([['spark-application', 'held', 0]])
    // As a client leaves one that was ended meanwhile.
    const held = follow(1)
    await held.told('is held')
    expect(held.troubles()).toEqual(['NO_DRIVER'])
    held.leave()
    server.forbidden.clear()
    await remove()
    for (const kind of ['SparkApplication', ...KINDS]) expect(server.all(kind)).toEqual([])
  })

  it('that no operator looks at is told of as that', async () => {
    await submit()
    const waiting = follow(1)
    await waiting.told('NO_DRIVER')
    expect(waiting.events.at(-1)).toMatchObject({ message: expect.not.stringContaining('says') })
    waiting.leave()
    server.setStatus('SparkApplication', NAME, { applicationState: { state: 'PENDING_RERUN' } })
    const queued = follow(1)
    await queued.told('PENDING_RERUN')
    queued.leave()
  })

  it('says no more than there is of states that there are not', async () => {
    await submit()
    for (const state of ['constructor', '__proto__', 'TOTALLY_DONE']) {
      server.setStatus('SparkApplication', NAME, { applicationState: { state } })
      expect(await states()).toEqual([['spark-application', 'waiting', 0]])
    }
  })

  it('goes whole by one removal, and with it the pod that the operator leaves', async () => {
    await submit(2)
    reconcile(server, NAME)
    makePods(server, `${NAME}-executor`)
    expect(server.get('Pod', DRIVER).metadata.ownerReferences).toBeUndefined()
    await remove()
    for (const kind of ['SparkApplication', ...KINDS]) expect(server.all(kind)).toEqual([])
    await expect(remove()).rejects.toMatchObject({ code: 'ABSENT' })
  })

  it('goes whole, too, where it was applied as it is rendered', async () => {
    const { driver, others } = renderRun(planOf({ form: 'spark-application', executors: 2 }))
    for (const object of [...others, driver]) server.put(object)
    reconcile(server, NAME)
    expect(await states()).toEqual([['spark-application', 'waiting', 2]])
    await remove()
    for (const kind of ['SparkApplication', ...KINDS]) expect(server.all(kind)).toEqual([])
  })

  it('that somebody removes otherwise leaves a pod that can be removed', async () => {
    await submit()
    reconcile(server, NAME)
    const removed = follow()
    await watched()
    server.remove(server.get('SparkApplication', NAME))
    expect(await removed.end).toMatchObject({ code: 'LOST' })
    expect(server.get('Pod', DRIVER)).toBeDefined()
    await remove()
    expect(server.all('Pod')).toEqual([])
  })

  it('is not what one of its name left: neither its log nor its end', async () => {
    await submit()
    reconcile(server, NAME)
    run()
    endDriver(server, NAME, DRIVER, 0)
    server.remove(server.get('SparkApplication', NAME))
    await submit()
    const { metadata } = server.get('SparkApplication', NAME)
    server.put({
      ...server.get('SparkApplication', NAME),
      metadata: { ...metadata, creationTimestamp: '2026-01-01T00:00:09Z' },
    })
    const waiting = follow(1)
    await waiting.told('NO_DRIVER')
    expect(waiting.log).toEqual([])
    waiting.leave()
    expect(await waiting.end).toBe(false)
    // Another is made in its place.
    server.setStatus('SparkApplication', NAME, { applicationState: { state: 'RUNNING' } })
    const left = server.get('Pod', DRIVER)
    server.remove(left)
    server.put({
      ...left,
      metadata: { ...left.metadata, uid: 'another', creationTimestamp: '2026-01-01T00:00:09Z' },
    })
    endDriver(server, NAME, DRIVER, 3)
    expect(await follow().end).toMatchObject({ code: 'DRIVER', exitCode: 3 })
  })

  it('that is suspended goes on where it is resumed, with the log of both drivers', async () => {
    await submit()
    reconcile(server, NAME)
    run()
    const suspended = follow()
    await suspended.told('attested')
    const suspend = (isHeld: boolean) => {
      const application = server.get('SparkApplication', NAME)
      server.put({ ...application, spec: { ...application.spec, suspend: isHeld } })
    }
    suspend(true)
    // What is told of this is told after that was seen.
    server.setStatus('SparkApplication', NAME, {
      applicationState: { state: 'SUBMISSION_FAILED', errorMessage: 'seen' },
    })
    await suspended.told('seen')
    const pod = server.get('Pod', DRIVER)
    server.put({
      ...pod,
      metadata: { ...pod.metadata, deletionTimestamp: '2026-01-01T00:00:06Z' },
    })
    server.endLog(DRIVER)
    setPod(server, DRIVER, { terminated: { exitCode: 143, reason: 'Error' } })
    await suspended.told('"ended"')
    server.remove(server.get('Pod', DRIVER))
    server.setStatus('SparkApplication', NAME, { applicationState: { state: 'SUSPENDED' } })
    server.forgetLog(DRIVER)
    suspend(false)
    reconcile(server, NAME)
    const again = server.get('Pod', DRIVER)
    server.put({ ...again, spec: { ...again.spec, nodeName: 'second' } })
    setPod(server, DRIVER, { running: {} })
    await suspended.told('runs on second')
    // Of a machine whose clock is behind.
    server.log(DRIVER, '2026-01-01T00:00:04.000000001Z', 'attested again')
    await suspended.told('attested again')
    endDriver(server, NAME, DRIVER, 0)
    expect(await suspended.end).toBe(true)
    expect(suspended.log).toEqual(['attested', 'attested again'])
  })

  it('is told from one of its name that came after it', async () => {
    const uid = await submit()
    await remove()
    const other = await submit()
    await expect(removeRun(connection, NAMESPACE, NAME, uid)).rejects.toMatchObject({
      code: 'ABSENT',
    })
    expect(server.get('SparkApplication', NAME).metadata.uid).toBe(other)
    expect(server.get('ConfigMap', NAME)).toBeDefined()
    const first = followed({ connection, namespace: NAMESPACE, name: NAME, uid })
    expect(await first.end).toMatchObject({ code: 'LOST' })
    const second = followed({ connection, namespace: NAMESPACE, name: NAME, uid: other })
    await watched()
    await remove()
    await submit()
    expect(await second.end).toMatchObject({ code: 'LOST' })
  })

  it('that was applied and is gone leaves nothing that cannot be removed', async () => {
    const { driver, others } = renderRun(planOf({ form: 'spark-application', executors: 2 }))
    for (const object of [...others, driver]) server.put(object)
    server.remove(server.get('SparkApplication', NAME))
    expect(server.get('Job', `${NAME}-executor`)).toBeDefined()
    await remove()
    for (const kind of KINDS) expect(server.all(kind)).toEqual([])
  })

  it('that the user may not see keeps its driver', async () => {
    await submit()
    reconcile(server, NAME)
    server.forbidden.add('get sparkapplications')
    await expect(remove()).rejects.toMatchObject({ code: 'ABSENT' })
    expect(server.get('Pod', DRIVER)).toBeDefined()
  })

  it.each(['', 'a,b=c', 'Reports', '../pods'])('has no name like %j', async name => {
    const asked = server.asked.length
    await expect(removeRun(connection, NAMESPACE, name)).rejects.toMatchObject({ code: 'OPTION' })
    const { end } = followed({ connection, namespace: NAMESPACE, name })
    expect(await end).toMatchObject({ code: 'OPTION' })
    expect(server.asked).toHaveLength(asked)
  })

  it('is not one that another made', async () => {
    const other = { type: 'Java', mode: 'cluster', sparkVersion: '4.0.0', driver: {}, executor: {} }
    server.put({
      ...{ apiVersion: 'sparkoperator.k8s.io/v1beta2', kind: 'SparkApplication', spec: other },
      metadata: { name: NAME },
    })
    await expect(submit()).rejects.toMatchObject({ code: 'EXISTS' })
    await expect(remove()).rejects.toMatchObject({ code: 'ABSENT' })
    expect(server.get('SparkApplication', NAME)).toBeDefined()
  })
})

describe('a run that spark-submit is given', () => {
  const plan = (executors = 0) => planOf({ form: 'spark-submit', executors })

  /** As kubectl does. */
  const apply = (executors = 0) => {
    for (const object of renderSparkSubmit(plan(executors), NAMESPACE).objects) server.put(object)
  }
  const submit = () => {
    const { driver } = renderSparkSubmit(plan(), NAMESPACE)
    makeSparkPod(server, driver, { name: DRIVER, image: plan().image })
  }

  it('is there before its driver is, and followed from then on', async () => {
    apply(2)
    expect(await states()).toEqual([['spark-submit', 'waiting', 2]])
    const first = follow(1)
    await first.told('NO_DRIVER')
    submit()
    run()
    expect(await states()).toEqual([['spark-submit', 'running', 2]])
    await first.told('attested')
    first.leave()
    const second = follow()
    await second.told('attested')
    endDriver(server, NAME, DRIVER, 3)
    expect(await second.end).toMatchObject({ code: 'DRIVER', exitCode: 3 })
    setPod(server, DRIVER, { terminated: { exitCode: 0, reason: 'Completed' } })
    expect(await follow().end).toBe(true)
  })

  it('that loses its driver’s pod says so', async () => {
    apply()
    submit()
    run()
    const lost = follow()
    await lost.told('attested')
    server.endLog(DRIVER)
    server.remove(server.get('Pod', DRIVER))
    expect(await lost.end).toMatchObject({ code: 'LOST' })
  })

  it('goes by its labels and names, and nothing else does', async () => {
    apply(2)
    submit()
    makePods(server, `${NAME}-executor`)
    const others = [
      { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'others' } },
      {
        ...{ apiVersion: 'v1', kind: 'Pod', spec: { containers: [] } },
        metadata: { name: 'others', labels: { 'spark-role': 'driver', 'cloister/run': 'others' } },
      },
    ]
    for (const other of others) server.put(other)
    // By whoever may label it, for who may remove it.
    const { labels } = server.get('ServiceAccount', NAME).metadata
    const labelled = { name: 'database', labels }
    server.put({ apiVersion: 'v1', kind: 'Service', metadata: labelled, spec: { ports: [] } })
    await remove()
    const left = KINDS.flatMap(kind => server.all(kind)).map(({ metadata }) => metadata.name)
    expect(left.sort()).toEqual(['database', 'others', 'others'])
    await expect(remove()).rejects.toMatchObject({ code: 'ABSENT' })
  })

  it('can be removed again where that was refused half-way', async () => {
    apply(2)
    server.forbidden.add('delete serviceaccounts')
    await expect(remove()).rejects.toMatchObject({ code: 'REFUSED' })
    server.forbidden.clear()
    await remove()
    for (const kind of KINDS) expect(server.all(kind)).toEqual([])
  })
})

describe('runs by Spark’s tools', () => {
  it('need the permissions that their page lists, and no more', async () => {
    const plans = { name: 'other', executors: 1 } as const
    const submitted = renderRun(planOf({ form: 'spark-application', executors: 1 }))
    await submitRun(connection, NAMESPACE, submitted)
    reconcile(server, NAME)
    for (const object of renderSparkSubmit(planOf({ ...plans, form: 'spark-submit' }), NAMESPACE)
      .objects) {
      server.put(object)
    }
    await listRuns(connection, NAMESPACE)
    run()
    const all = [NAME, 'other'].map(name => followed({ connection, namespace: NAMESPACE, name }))
    await server.until(
      () =>
        server.watchers('events') === 3 &&
        server.watchers('pods') === 2 &&
        server.watchers('configmaps') === 1,
    )
    await all[0]?.told('attested')
    for (const one of all) one.leave()
    for (const one of all) expect(await one.end).toBe(false)
    await remove()
    await removeRun(connection, NAMESPACE, 'other')
    const used = permissionsIn(server.asked)
    const jobs = await permissionsOn('cloister-jobs')
    expect(used.filter(permission => !jobs.includes(permission))).toEqual(
      await permissionsOn('cloister-spark'),
    )
  })

  it('are not asked of by a user who has no part in them', async () => {
    await submitRun(connection, NAMESPACE, renderRun(planOf()))
    server.forbidden.add('list sparkapplications').add('get sparkapplications')
    const { runs, unseen } = await listRuns(connection, NAMESPACE)
    expect(runs).toHaveLength(1)
    expect(unseen).toEqual([expect.stringContaining('spark-application')])
    await expect(removeRun(connection, NAMESPACE, 'none')).rejects.toMatchObject({
      code: 'ABSENT',
      message: expect.stringContaining('spark-application'),
    })
  })
})
