import { spawnSync } from 'node:child_process'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { stringify } from 'yaml'
import { objectsOf, renderChart, VALUE_FILES } from '../chart/render.test.support.ts'
import { alibabaNode, GOOD, pod } from '../doctor/clusters.test.support.ts'
import { examineCluster, openCluster } from '../index.ts'
import { HELM_MISSING, KUBECTL, pageBlocks } from '../repository.test.support.ts'
import { smallApiServer } from './api-server.test.support.ts'
import { type RealCluster, realApiServer, WHY_NOT_REAL } from './real-api-server.test.support.ts'

const WHY = `${WHY_NOT_REAL}${HELM_MISSING}`

describe.skipIf(WHY !== '')(`against Kubernetes' own API server${WHY}`, () => {
  let cluster: RealCluster

  beforeAll(async () => {
    cluster = await realApiServer()
  })
  afterAll(() => cluster.stop())

  /** What kubectl says on standard error, and whether it was done. */
  function kubectl(argv: readonly string[], input = ''): { done: boolean; said: string } {
    const all = ['--kubeconfig', cluster.kubeconfig, ...argv]
    const { status, stderr } = spawnSync(KUBECTL, all, { encoding: 'utf8', input })
    return { done: status === 0, said: stderr }
  }

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
})
