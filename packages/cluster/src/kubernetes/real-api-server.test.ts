import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { stringify } from 'yaml'
import { objectsOf, renderChart, VALUE_FILES } from '../chart/render.test.support.ts'
import { alibabaNode, GOOD, pod } from '../doctor/clusters.test.support.ts'
import {
  connect,
  examineCluster,
  followRun,
  listRuns,
  openCluster,
  type RunEvent,
  removeRun,
  renderRun,
  submitRun,
} from '../index.ts'
import { HELM_MISSING, pageBlocks } from '../repository.test.support.ts'
import { OPTION_SETS } from '../run/plan.test.support.ts'
import { smallApiServer } from './api-server.test.support.ts'
import { type RealCluster, realApiServer, WHY_NOT_REAL } from './real-api-server.test.support.ts'

const WHY = `${WHY_NOT_REAL}${HELM_MISSING}`

describe.skipIf(WHY !== '')(`against Kubernetes' own API server${WHY}`, () => {
  let cluster: RealCluster

  beforeAll(async () => {
    cluster = await realApiServer()
  })
  afterAll(() => cluster.stop())

  const kubectl: RealCluster['kubectl'] = (...asked) => cluster.kubectl(...asked)

  const namespace = (name: string) => {
    const level = 'pod-security.kubernetes.io/warn: restricted'
    const text = `apiVersion: v1\nkind: Namespace\nmetadata:\n  name: ${name}\n  labels:\n    ${level}\n`
    expect(kubectl(['apply', '-f', '-'], text)).toMatchObject({ done: true })
  }

  it.each(VALUE_FILES)('the chart with %s is taken, and its pods are restricted ones', file => {
    const name = `chart-${file.replace('.yaml', '')}`
    namespace(name)
    const { text = '' } = renderChart(file, {}, name)
    const { done, said } = kubectl(
      ['--namespace', name, 'apply', '--validate=strict', '-f', '-'],
      text,
    )
    expect(done, said).toBe(true)
    const warnings = said.split('\n').filter(line => line.includes('PodSecurity'))
    // AESM's socket is the host's.
    expect(warnings).toHaveLength(file === 'sgx.yaml' ? 1 : 0)
    for (const line of warnings) expect(line).toMatch(/ \(volume "aesm" uses .*hostPath"\)$/)
  })

  it('an object with an unknown field is not', () => {
    namespace('strict')
    const [first] = objectsOf('small.yaml').filter(({ kind }) => kind === 'Deployment')
    const spoilt = structuredClone(first)
    spoilt?.spec.template.spec.containers.push({ name: 'x', image: 'x', readOnly: true })
    const argv = ['--namespace', 'strict', 'apply', '--validate=strict', '-f', '-']
    const { done, said } = kubectl(argv, stringify({ ...spoilt, metadata: { name: 'x' } }))
    expect(done).toBe(false)
    expect(said).toContain('unknown field')
  })

  it('the doctor needs no more permissions than its page says', async () => {
    const doctor = async () =>
      await examineCluster(openCluster({ kubeconfig: cluster.userKubeconfig }), {
        instances: { count: 1, epcMiB: 1 },
      })
    const refused = (await doctor()).filter(({ what }) => what === 'permissions')
    expect(refused).toHaveLength(4)
    const [role = ''] = (await pageBlocks()).filter(text => text.includes('kind: ClusterRole'))
    expect(kubectl(['create', '--validate=strict', '-f', '-'], role)).toMatchObject({ done: true })
    const binding = ['clusterrolebinding', 'doctor', '--clusterrole=cloister-doctor', '--user=user']
    expect(kubectl(['create', ...binding])).toMatchObject({ done: true })
    await expect
      .poll(async () => (await doctor()).map(({ what }) => what), { timeout: 10_000 })
      .not.toContain('permissions')
  })

  it('the doctor says of it what it says of the small server', async () => {
    namespace('sgx')
    namespace('trust')
    kubectl(['delete', 'services', '--all-namespaces', '--selector', 'app.kubernetes.io/name'])
    const taken = { 'sgx.intel.com/epc': '1Gi', 'sgx.intel.com/enclave': '1' }
    const objects = [
      ...GOOD,
      alibabaNode('g7t-1', 8192),
      pod('running', { on: 'sgx-1', limits: taken }),
      pod('over', { on: 'sgx-2', limits: taken, phase: 'Succeeded' }),
    ]
    for (const object of objects) {
      const text = stringify(object)
      expect(kubectl(['create', '--validate=strict', '-f', '-'], text)).toMatchObject({
        done: true,
      })
      if (object.status === undefined) continue
      const status = ['replace', '--subresource=status', '-f', '-']
      expect(kubectl(status, text)).toMatchObject({ done: true })
    }
    const small = await smallApiServer(objects)
    try {
      const [real, stood] = await Promise.all(
        [cluster, small].map(async ({ kubeconfig }) => {
          const instances = { count: 4, epcMiB: 1024 }
          return await examineCluster(openCluster({ kubeconfig }), { instances })
        }),
      )
      expect(real?.[0]?.seen).toMatch(/^v1\.36\.3 at https:/)
      expect(real?.slice(1)).toEqual(stood?.slice(1))
      expect(real?.map(({ what }) => what)).toContain('EPC')
    } finally {
      await small.stop()
    }
  })

  describe('runs', () => {
    const by = (kubeconfig: string) => connect({ kubeconfig })

    it.each(Object.entries(OPTION_SETS))('with %s are taken', async (_name, plan) => {
      const name = `taken-${Object.values(OPTION_SETS).indexOf(plan)}`
      namespace(name)
      const connection = by(cluster.kubeconfig)
      await submitRun(connection, name, renderRun(plan))
      const listed = async () => (await listRuns(connection, name)).runs
      expect(await listed()).toMatchObject([
        { name: plan.name, state: 'waiting', executors: plan.executors },
      ])
      await removeRun(connection, name, plan.name)
      expect(await listed()).toEqual([])
    })

    it('are submitted, followed and removed by a user with the permissions of the page', async () => {
      namespace('runs')
      const plan = OPTION_SETS['a driver alone']
      if (plan === undefined) throw new Error('there is no such plan')
      const connection = by(cluster.userKubeconfig)
      await expect(submitRun(connection, 'runs', renderRun(plan))).rejects.toMatchObject({
        code: 'REFUSED',
      })
      const [role = ''] = (await pageBlocks()).filter(text => text.includes('name: cloister-jobs'))
      const inRuns = ['--namespace', 'runs', 'create']
      expect(kubectl([...inRuns, '--validate=strict', '-f', '-'], role)).toMatchObject({
        done: true,
      })
      const binding = ['rolebinding', 'jobs', '--role=cloister-jobs', '--user=user']
      expect(kubectl([...inRuns, ...binding])).toMatchObject({ done: true })
      let uid = ''
      const submit = async () => {
        uid = await submitRun(connection, 'runs', renderRun(plan))
        return 'made'
      }
      await expect.poll(submit, { timeout: 10_000 }).toBe('made')
      const events: RunEvent[] = []
      const end = followRun({
        ...{ connection, namespace: 'runs', name: plan.name, pauseMs: 50, onLog: () => {} },
        signal: new AbortController().signal,
        onEvent: event => events.push(event),
      })
      const driver = {
        ...{ apiVersion: 'v1', kind: 'Pod' },
        metadata: {
          ...{ name: 'driver', namespace: 'runs' },
          labels: { 'cloister/run': plan.name, 'app.kubernetes.io/component': 'driver' },
          // As the controller of a Job makes it: no other pod's end is the run's.
          ownerReferences: [{ apiVersion: 'batch/v1', kind: 'Job', name: plan.name, uid }],
        },
        spec: { containers: [{ name: 'cloister', image: 'x' }] },
      }
      const state = (phase: string, more: object) => {
        const text = stringify({ ...driver, status: { phase, ...more } })
        const argv = ['replace', '--subresource=status', '-f', '-']
        expect(kubectl(argv, text)).toMatchObject({ done: true })
      }
      expect(kubectl(['create', '-f', '-'], stringify(driver))).toMatchObject({ done: true })
      const message = '0/3 nodes are available: 3 Insufficient sgx.intel.com/epc.'
      state('Pending', {
        conditions: [{ type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message }],
      })
      await expect.poll(() => JSON.stringify(events), { timeout: 10_000 }).toContain(message)
      const terminated = { exitCode: 0, reason: 'Completed' }
      const container = { name: 'cloister', image: 'x', imageID: '', ready: false, restartCount: 0 }
      state('Succeeded', { containerStatuses: [{ ...container, state: { terminated } }] })
      expect(await end).toBe(true)
      await removeRun(connection, 'runs', plan.name)
      await expect(removeRun(connection, 'runs', plan.name)).rejects.toMatchObject({
        code: 'ABSENT',
      })
    })
  })
})
