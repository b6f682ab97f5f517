import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Connection, connect, listRuns, removeRun, renderRun, submitRun } from '../index.ts'
import { WritableApiServer } from '../kubernetes/writable-api-server.test.support.ts'
import { allKubernetesSchemas } from '../kubernetes-schemas.test.support.ts'
import { HAS_VECTORS } from '../repository.test.support.ts'
import { endDriver, makePods, setPod } from './controllers.test.support.ts'
import { followed } from './followed.test.support.ts'
import { permissionsIn, permissionsOn } from './permissions.test.support.ts'
import { planOf } from './plan.test.support.ts'

const NAME = planOf().name
const NAMESPACE = 'jobs'
const at = (fraction: string) => `2026-01-01T00:00:05.${fraction.padEnd(9, '0')}Z`

let server: WritableApiServer
let connection: Connection

const [schemas] = HAS_VECTORS ? await allKubernetesSchemas() : []

beforeEach(async () => {
  server = await WritableApiServer.start(schemas)
  connection = connect({ kubeconfig: server.kubeconfig })
})
afterEach(() => server.stop())

const submit = (executors = 0) => submitRun(connection, NAMESPACE, renderRun(planOf({ executors })))

const follow = () => followed({ connection, namespace: NAMESPACE, name: NAME })

/** Whether everything is watched that is. */
const watched = () => server.until(() => server.watchers('pods') > 0 && server.watchers('jobs') > 0)

describe('a run that is submitted', () => {
  it('has objects that its driver’s job owns, which waits until they are there', async () => {
    await submit(2)
    const { uid } = server.get('Job', NAME).metadata
    const kinds = ['ConfigMap', 'ServiceAccount', 'NetworkPolicy', 'Service', 'Job']
    const others = kinds
      .flatMap(kind => server.all(kind))
      .filter(({ metadata }) => metadata.uid !== uid)
    expect(others).toHaveLength(7)
    for (const { metadata } of others) {
      expect(metadata.ownerReferences).toMatchObject([{ kind: 'Job', name: NAME, uid }])
    }
    expect(server.get('Job', NAME).spec.suspend).toBe(false)
    const changes = server.asked.filter(({ verb }) => verb === 'create' || verb === 'patch')
    expect(changes[0]).toEqual({ verb: 'create', group: 'batch', resource: 'jobs' })
    expect(changes.at(-1)).toEqual({ verb: 'patch', group: 'batch', resource: 'jobs' })
  })

  it('leaves nothing where one of them is refused', async () => {
    server.forbidden.add('create networkpolicies')
    await expect(submit()).rejects.toMatchObject({ code: 'REFUSED' })
    for (const kind of ['Job', 'ConfigMap', 'ServiceAccount']) expect(server.all(kind)).toEqual([])
  })

  it('names what may be there where nobody answers', async () => {
    const impatient = connect({ kubeconfig: server.kubeconfig, timeoutMs: 200 })
    server.silent.add('create jobs')
    await expect(submitRun(impatient, NAMESPACE, renderRun(planOf()))).rejects.toMatchObject({
      code: 'UNREACHABLE',
      message: expect.stringContaining(`cloister cluster remove ${NAME} --namespace ${NAMESPACE}`),
    })
    expect((await listRuns(connection, NAMESPACE)).runs).toMatchObject([{ state: 'held' }])
  })

  it('is not put in the place of another', async () => {
    await submit()
    const { uid } = server.get('Job', NAME).metadata
    await expect(submit()).rejects.toMatchObject({ code: 'EXISTS' })
    expect(server.get('Job', NAME).metadata.uid).toBe(uid)
    expect(server.get('ConfigMap', NAME)).toBeDefined()
  })

  it('goes whole by one removal; what is no run does not', async () => {
    await submit(2)
    makePods(server, NAME)
    makePods(server, `${NAME}-executor`)
    await removeRun(connection, NAMESPACE, NAME)
    for (const kind of ['Job', 'Pod', 'ConfigMap', 'ServiceAccount', 'NetworkPolicy', 'Service']) {
      expect(server.all(kind)).toEqual([])
    }
    await expect(removeRun(connection, NAMESPACE, NAME)).rejects.toMatchObject({ code: 'ABSENT' })
    const other = { apiVersion: 'batch/v1', kind: 'Job', metadata: { name: 'nightly' }, spec: {} }
    server.put(other)
    const gone = removeRun(connection, NAMESPACE, 'nightly')
    await expect(gone).rejects.toMatchObject({ code: 'ABSENT' })
    expect(server.get('Job', 'nightly')).toBeDefined()
  })

  it('is listed with how it stands', async () => {
    await submit(2)
    server.put({
      ...{ apiVersion: 'batch/v1', kind: 'Job', spec: {} },
      metadata: { name: 'nightly', namespace: NAMESPACE },
    })
    const listed = async () => (await listRuns(connection, NAMESPACE)).runs
    const states = async () => (await listed()).map(({ state }) => state)
    expect(await listed()).toMatchObject([
      { name: NAME, form: 'job', state: 'waiting', executors: 2 },
    ])
    server.setStatus('Job', NAME, { active: 1, ready: 1 })
    expect(await states()).toEqual(['running'])
    server.setStatus('Job', NAME, { conditions: [{ type: 'Failed', status: 'True' }] })
    expect(await states()).toEqual(['failed'])
  })
})

describe('a run that is followed', () => {
  it('tells its pods and its driver’s log, and ends well where the driver did', async () => {
    await submit(1)
    const run = follow()
    await watched()
    const [driver = ''] = makePods(server, NAME)
    const [executor = ''] = makePods(server, `${NAME}-executor`)
    for (const pod of [driver, executor]) setPod(server, pod, { running: {} })
    server.log(driver, at('1'), 'attested')
    await run.told('attested')
    server.log(driver, at('2'), '')
    server.log(driver, at('3'), 'done')
    setPod(server, executor, { terminated: { exitCode: 0, reason: 'Completed' } })
    endDriver(server, NAME, driver, 0)
    expect(await run.end).toBe(true)
    expect(run.log).toEqual(['attested', '', 'done'])
    expect(run.events.map(event => 'pod' in event && event.state)).toEqual(
      expect.arrayContaining(['runs', 'runs', 'ended']),
    )
    expect(run.events.filter(({ kind }) => kind === 'trouble')).toEqual([])
  })

  it.each([1, 3, 143])('ends as its driver did: %i', async exitCode => {
    await submit()
    const [driver = ''] = makePods(server, NAME)
    setPod(server, driver, { running: {} })
    server.log(driver, at('1'), 'no')
    endDriver(server, NAME, driver, exitCode)
    const run = follow()
    expect(await run.end).toMatchObject({ code: 'DRIVER', exitCode })
    expect(run.log).toEqual(['no'])
  })

  it('that has ended reports its end, as often as it is asked', async () => {
    await submit()
    const [driver = ''] = makePods(server, NAME)
    setPod(server, driver, { running: {} })
    server.log(driver, at('1'), 'done')
    endDriver(server, NAME, driver, 0)
    for (const _again of [1, 2]) {
      const run = follow()
      expect(await run.end).toBe(true)
      expect(run.log).toEqual(['done'])
    }
    server.remove(server.get('Pod', driver))
    expect(await follow().end).toBe(true)
  })

  it('goes on when the client leaves, and is taken up by another', async () => {
    await submit()
    const first = follow()
    await watched()
    const [driver = ''] = makePods(server, NAME)
    setPod(server, driver, { running: {} })
    server.log(driver, at('1'), 'one')
    await first.told('one')
    first.leave()
    expect(await first.end).toBe(false)
    expect(server.get('Job', NAME)).toBeDefined()
    const second = follow()
    await second.told('one')
    server.log(driver, at('2'), 'two')
    endDriver(server, NAME, driver, 0)
    expect(await second.end).toBe(true)
    expect(second.log).toEqual(['one', 'two'])
  })

  it('is watched on from where a connection was lost, and no line comes twice', async () => {
    await submit()
    const run = follow()
    await watched()
    const [driver = ''] = makePods(server, NAME)
    setPod(server, driver, { running: {} })
    // Of one second: by which the log is asked for again.
    for (const [stamp, text] of [
      ['1', 'one'],
      ['12', 'two'],
    ] as const) {
      server.log(driver, at(stamp), text)
      await run.told(text)
      const lists = server.asked.filter(({ verb }) => verb === 'list').length
      server.bookmark()
      server.drop()
      await watched()
      expect(server.asked.filter(({ verb }) => verb === 'list')).toHaveLength(lists)
    }
    server.log(driver, at('2'), 'three')
    endDriver(server, NAME, driver, 0)
    expect(await run.end).toBe(true)
    expect(run.log).toEqual(['one', 'two', 'three'])
  })

  it('loses no line of a machine whose clock is of another zone, and is put back', async () => {
    await submit()
    const run = follow()
    await watched()
    const [driver = ''] = makePods(server, NAME)
    setPod(server, driver, { running: {} })
    for (const [stamp, text] of [
      ['2026-10-25T02:59:59.100000000+02:00', 'one'],
      ['2026-10-25T02:00:00.100000000+01:00', 'two'],
    ] as const) {
      server.log(driver, stamp, text)
      await run.told(text)
      server.drop()
      await watched()
    }
    server.log(driver, '2026-10-25T02:00:01.100000000+01:00', 'three')
    endDriver(server, NAME, driver, 0)
    expect(await run.end).toBe(true)
    expect(run.log).toEqual(['one', 'two', 'three'])
  })

  it('is listed anew where a watch is too old', async () => {
    await submit()
    const run = follow()
    await watched()
    const [driver = ''] = makePods(server, NAME)
    setPod(server, driver, { running: {} })
    server.compact()
    const lists = () =>
      server.asked.filter(({ verb, resource }) => verb === 'list' && resource === 'pods').length
    expect(lists()).toBe(1)
    server.drop()
    await server.until(() => lists() > 1)
    endDriver(server, NAME, driver, 0)
    expect(await run.end).toBe(true)
  })

  it('is looked for while the cluster does not answer', async () => {
    await submit()
    const run = follow()
    await watched()
    server.isAway = true
    server.drop()
    await run.told('"away"')
    const [driver = ''] = makePods(server, NAME)
    setPod(server, driver, { running: {} })
    endDriver(server, NAME, driver, 0)
    server.isAway = false
    expect(await run.end).toBe(true)
    expect(run.events).toContainEqual({ kind: 'back' })
  })

  it('that somebody removes, or evicts, is told of as that', async () => {
    await submit()
    const removed = follow()
    await watched()
    await removeRun(connection, NAMESPACE, NAME)
    expect(await removed.end).toMatchObject({ code: 'LOST' })
    expect(await follow().end).toMatchObject({ code: 'ABSENT' })
    await submit()
    const [driver = ''] = makePods(server, NAME)
    const why = 'The node was low on resource: memory.'
    server.setStatus('Pod', driver, { phase: 'Failed', reason: 'Evicted', message: why })
    expect(await follow().end).toMatchObject({
      code: 'EVICTED',
      message: expect.stringContaining(why),
    })
    server.remove(server.get('Pod', driver))
    const failed = { type: 'Failed', status: 'True', message: 'BackoffLimitExceeded' }
    server.setStatus('Job', NAME, { conditions: [failed] })
    expect(await follow().end).toMatchObject({ code: 'LOST' })
  })

  it('tells once why pods do not begin', async () => {
    await submit(1)
    const run = follow()
    await watched()
    const [driver = ''] = makePods(server, NAME)
    const [executor = ''] = makePods(server, `${NAME}-executor`)
    const unscheduled = {
      ...{ type: 'PodScheduled', status: 'False', reason: 'Unschedulable' },
      message: '0/3 nodes are available: 3 Insufficient sgx.intel.com/epc.',
    }
    server.setStatus('Pod', driver, { conditions: [unscheduled] })
    server.setStatus('Pod', driver, { conditions: [unscheduled], startTime: 'x' })
    const waiting = { reason: 'ImagePullBackOff', message: 'Back-off pulling image "x"' }
    setPod(server, executor, { waiting })
    server.put({
      ...{ apiVersion: 'v1', kind: 'Event', type: 'Warning', reason: 'FailedCreate' },
      metadata: { name: 'e1' },
      involvedObject: { kind: 'Job', name: NAME },
      message: 'pods are forbidden: exceeded quota',
    })
    await run.told('exceeded quota')
    setPod(server, executor, { terminated: { exitCode: 137, reason: 'OOMKilled' } })
    await run.told('MEMORY')
    endDriver(server, NAME, driver, 0)
    expect(await run.end).toBe(true)
    expect(run.troubles()).toEqual(['IMAGE', 'MEMORY', 'PODS', 'UNSCHEDULABLE'])
  })

  it('takes nobody’s pod but its job’s for the driver’s', async () => {
    await submit()
    const [driver = ''] = makePods(server, NAME)
    const { metadata, ...other } = server.get('Pod', driver)
    server.put({ ...other, metadata: { name: 'a-driver', labels: metadata.labels } })
    setPod(server, 'a-driver', { running: {} })
    server.log('a-driver', at('1'), 'all is well')
    endDriver(server, '', 'a-driver', 0)
    const run = follow()
    await watched()
    setPod(server, driver, { running: {} })
    server.log(driver, at('2'), 'no')
    endDriver(server, NAME, driver, 3)
    expect(await run.end).toMatchObject({ code: 'DRIVER', exitCode: 3 })
    expect(run.log).toEqual(['no'])
  })

  it('is followed as far as the user may', async () => {
    await submit()
    server.forbidden.add('list events').add('get pods/log')
    const [driver = ''] = makePods(server, NAME)
    setPod(server, driver, { running: {} })
    endDriver(server, NAME, driver, 0)
    const run = follow()
    expect(await run.end).toBe(true)
    expect(run.troubles()).toEqual(['EVENTS', 'LOG'])
    server.forbidden.add('list pods')
    expect(await follow().end).toMatchObject({ code: 'REFUSED' })
  })

  it('needs the permissions that its page lists, and no more', async () => {
    // Of whoever uses no tools of Spark's.
    const refused = ['list sparkapplications', 'list configmaps']
    for (const question of refused) server.forbidden.add(question)
    await submit(1)
    expect((await listRuns(connection, NAMESPACE)).unseen).toHaveLength(2)
    const run = follow()
    await watched()
    await server.until(() => server.watchers('events') > 1)
    const [driver = ''] = makePods(server, NAME)
    setPod(server, driver, { running: {} })
    endDriver(server, NAME, driver, 0)
    expect(await run.end).toBe(true)
    await removeRun(connection, NAMESPACE, NAME)
    const asked = server.asked.filter(
      ({ verb, resource }) => !refused.includes(`${verb} ${resource}`),
    )
    expect(permissionsIn(asked)).toEqual(await permissionsOn('cloister-jobs'))
  })
})

describe('a cluster that answers with anything', () => {
  it.each([
    ['no JSON', 'ADDED'],
    ['no change', '{"type":"SECRET","object":{}}'],
    ['an object without a name', '{"type":"ADDED","object":{"metadata":{}}}'],
  ])('ends a watch that tells of %s', async (_what, line) => {
    await submit()
    const run = follow()
    await watched()
    server.say(`${line}\n`)
    expect(await run.end).toMatchObject({ name: 'ClusterError', code: 'ANSWER' })
  })
})
