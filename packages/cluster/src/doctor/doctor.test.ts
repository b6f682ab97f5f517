import fc from 'fast-check'
import { describe, expect, it, onTestFinished } from 'vitest'
import { ClusterError, openCluster } from '../index.ts'
import {
  type ApiServerOptions,
  type StoredObject,
  smallApiServer,
  type TestCluster,
} from '../kubernetes/api-server.test.support.ts'
import { allKubernetesSchemas } from '../kubernetes-schemas.test.support.ts'
import { HAS_VECTORS, VECTORS_MISSING } from '../repository.test.support.ts'
import {
  aesmOn,
  alibabaNode,
  chartLabels,
  GOOD,
  intelNode,
  node,
  pod,
  service,
} from './clusters.test.support.ts'
import { type ExamineOptions, examineCluster } from './examine-cluster.ts'
import type { ClusterFinding } from './finding.ts'

const ONE: ExamineOptions = { instances: { count: 1, epcMiB: 512 } }

/** A server that goes when its test is over. */
async function serverOf(
  objects: readonly StoredObject[],
  how: ApiServerOptions = {},
): Promise<TestCluster> {
  const server = await smallApiServer(objects, how)
  onTestFinished(() => server.stop())
  return server
}

async function examined(
  objects: readonly StoredObject[],
  options: Partial<ExamineOptions> = {},
  how: ApiServerOptions = {},
): Promise<readonly ClusterFinding[]> {
  const { kubeconfig } = await serverOf(objects, how)
  const cluster = openCluster({ kubeconfig, timeoutMs: 2000 })
  return await examineCluster(cluster, { ...ONE, ...options })
}

/** An object with one of its values, at some depth, another. */
function spoil([value, other, depth]: readonly [unknown, unknown, number]): unknown {
  if (depth === 0 || typeof value !== 'object' || value === null) return other
  const keys = Object.keys(value)
  const key = keys[depth % Math.max(1, keys.length)]
  if (key === undefined) return other
  const copy: Record<string, unknown> = { ...value }
  copy[key] = spoil([copy[key], other, depth - 1])
  return Array.isArray(value) ? Object.values(copy) : copy
}

function one(findings: readonly ClusterFinding[], what: string): ClusterFinding {
  const found = findings.filter(finding => finding.what === what)
  if (found.length !== 1 || found[0] === undefined) throw new Error(`${found.length} × ${what}`)
  return found[0]
}

const epcOf = async (objects: readonly StoredObject[], count: number, epcMiB: number) =>
  one(await examined(objects, { instances: { count, epcMiB } }), 'EPC')

describe('the doctor of clusters', () => {
  it.skipIf(!HAS_VECTORS)(
    `is tested with objects that are Kubernetes' own${VECTORS_MISSING}`,
    async () => {
      const all = [...GOOD, pod('a', { waiting: 'X', before: [{ limits: {}, stays: true }] })]
      for (const schemas of await allKubernetesSchemas()) {
        expect(all.flatMap(object => schemas.mistakes(object))).toEqual([])
      }
    },
  )

  it('finds nothing wrong where nothing is, and says what it wanted and saw', async () => {
    const findings = await examined(GOOD)
    expect(findings.map(({ what, state }) => [what, state])).toEqual([
      ['Kubernetes', 'good'],
      ['SGX device plugin', 'good'],
      ['EPC', 'good'],
      ['AESM', 'good'],
      ['key service', 'good'],
      ['collateral service', 'good'],
    ])
    expect(one(findings, 'SGX device plugin').seen).toBe('Intel: sgx-1, sgx-2')
    expect(one(findings, 'EPC')).toMatchObject({ wanted: '1 × 512 MiB' })
    expect(one(findings, 'key service').seen).toBe('trust/cloister-kms: 3 of 3 ready')
    expect(findings.every(({ nextStep }) => nextStep === undefined)).toBe(true)
  })

  describe('of device plugins', () => {
    const pluginOf = async (...nodes: readonly StoredObject[]) =>
      one(await examined(nodes), 'SGX device plugin')

    it('knows Alibaba Cloud’s by its name', async () => {
      expect(await pluginOf(alibabaNode('g7t-1', 8192))).toMatchObject({
        ...{ state: 'good', seen: 'Alibaba Cloud: g7t-1' },
      })
    })

    it('tells machines without SGX from machines whose plugin is not there', async () => {
      const none = await pluginOf(node('plain-1'))
      expect(none).toMatchObject({ state: 'missing', seen: 'none on 1 machines' })
      expect(none.nextStep).toContain('g7t')
      const labels = { 'intel.feature.node.kubernetes.io/sgx': 'true' }
      const silent = await pluginOf(node('sgx-1', { labels }))
      expect(silent.seen).toContain('none on sgx-1, which are labelled for SGX')
      expect(silent.nextStep).toContain('device plugin')
    })

    it('misses provision devices: nothing can be attested without', async () => {
      const lacking = intelNode('sgx-1', '1Gi', { allocatable: { 'sgx.intel.com/provision': '0' } })
      const finding = await pluginOf(lacking)
      expect(finding).toMatchObject({ state: 'missing' })
      expect(finding.seen).toBe('sgx-1 lacks sgx.intel.com/provision')
      const other = await pluginOf(lacking, intelNode('sgx-2', '1Gi'))
      expect(other).toMatchObject({ state: 'weak' })
      expect(other.seen).toContain('Intel: sgx-2; sgx-1 lacks')
    })

    it('counts on no machine that takes no pods', async () => {
      const cordoned = await pluginOf(intelNode('sgx-1', '1Gi', { isCordoned: true }))
      expect(cordoned).toMatchObject({ state: 'missing', seen: 'sgx-1 is not ready' })
      expect(await pluginOf(intelNode('sgx-1', '1Gi', { isReady: false }))).toMatchObject({
        state: 'missing',
      })
    })
  })

  describe('of EPC', () => {
    const taken = (limits: Readonly<Record<string, string>>, more: object = {}) =>
      pod('job', { on: 'sgx-1', limits, ...more })
    const epc = (amount: string) => ({ 'sgx.intel.com/epc': amount })

    it('counts instances machine by machine, as one does not spread over two', async () => {
      const machines = [intelNode('sgx-1', '3Gi'), intelNode('sgx-2', '3Gi')]
      expect(await epcOf(machines, 2, 2048)).toMatchObject({ state: 'good' })
      const three = await epcOf(machines, 3, 2048)
      expect(three).toMatchObject({ state: 'missing', wanted: '3 × 2048 MiB' })
      expect(three.seen).toContain('2 fit: sgx-1 3072 of 3072 MiB free')
      expect(three.nextStep).toContain('wait for other jobs')
      expect((await epcOf(machines, 1, 4096)).nextStep).toContain('no machine has so much')
    })

    it('takes off what pods have, and nothing for those that are over', async () => {
      const machine = intelNode('sgx-1', '4Gi')
      expect((await epcOf([machine, taken(epc('3Gi'))], 1, 2048)).state).toBe('missing')
      const over = taken(epc('3Gi'), { phase: 'Succeeded' })
      expect((await epcOf([machine, over], 1, 2048)).state).toBe('good')
      const elsewhere = pod('job', { limits: epc('3Gi') })
      expect((await epcOf([machine, elsewhere], 1, 2048)).state).toBe('good')
    })

    it('takes an init container for what it is: before the others, or beside them', async () => {
      const machine = intelNode('sgx-1', '4Gi')
      const before = taken(epc('1Gi'), { before: [{ limits: epc('3Gi') }] })
      expect((await epcOf([machine, before], 1, 1024)).seen).toContain('1024 of 4096 MiB free')
      const beside = taken(epc('1Gi'), { before: [{ limits: epc('3Gi'), stays: true }] })
      expect((await epcOf([machine, beside], 1, 1024)).seen).toContain('0 of 4096 MiB free')
    })

    it('counts enclave devices as well', async () => {
      const machine = intelNode('sgx-1', '64Gi', { allocatable: { 'sgx.intel.com/enclave': '2' } })
      const busy = taken({ ...epc('1Gi'), 'sgx.intel.com/enclave': '1' })
      expect((await epcOf([machine, busy], 2, 512)).seen).toContain('1 fits')
    })

    it('reads Alibaba Cloud’s in MiB', async () => {
      const limits = { 'alibabacloud.com/sgx_epc_MiB': '6144' }
      const machines = [alibabaNode('g7t-1', 8192), pod('job', { on: 'g7t-1', limits })]
      expect((await epcOf(machines, 1, 2048)).seen).toBe('1 fits: g7t-1 2048 of 8192 MiB free')
      expect((await epcOf(machines, 1, 2049)).state).toBe('missing')
    })
  })

  it('misses AESM machine by machine, and says what it cannot see', async () => {
    const machines = [intelNode('sgx-1', '4Gi'), intelNode('sgx-2', '4Gi'), aesmOn('sgx-1')]
    const finding = one(await examined(machines), 'AESM')
    expect(finding).toMatchObject({ state: 'weak' })
    expect(finding.seen).toMatch(/^a pod of it on 1 of 2 machines; .* cannot be seen$/)
    const named = pod('reaesmdata', { on: 'sgx-2', image: 'example/reaesmdata:1' })
    expect(one(await examined([...machines, named]), 'AESM').seen).toContain('1 of 2')
  })

  describe('of services', () => {
    it('says why none of its pods is ready', async () => {
      const labels = chartLabels('kms')
      const broken = [
        ...service('cloister-kms', [false, false], labels),
        pod('cloister-kms-1', {
          namespace: 'trust',
          labels,
          isReady: false,
          waiting: 'ImagePullBackOff',
        }),
        pod('other', {
          namespace: 'elsewhere',
          labels,
          isReady: false,
          waiting: 'CrashLoopBackOff',
        }),
      ]
      expect(one(await examined(broken), 'key service')).toMatchObject({
        state: 'missing',
        seen: 'trust/cloister-kms: 0 of 2 ready (ImagePullBackOff)',
        nextStep: expect.stringContaining('kubectl --namespace trust get pods'),
      })
    })

    it('says when some are not ready', async () => {
      const some = service('cloister-kms', [true, false], chartLabels('kms'))
      expect(one(await examined(some), 'key service')).toMatchObject({ state: 'weak' })
    })

    it('takes one that is named, and misses it when it is not there', async () => {
      const own = service('pccs', [true], {}, 'sgx')
      const named = { pccsService: { namespace: 'sgx', name: 'pccs' } }
      expect(one(await examined(own, named), 'collateral service')).toMatchObject({
        ...{ state: 'good', seen: 'sgx/pccs: 1 of 1 ready' },
      })
      const absent = { kmsService: { namespace: 'sgx', name: 'kms' } }
      expect(one(await examined(own, absent), 'key service')).toMatchObject({
        ...{ state: 'missing', seen: 'there is no service sgx/kms' },
      })
    })

    it('does not take their absence for a fault: they may be elsewhere', async () => {
      const findings = await examined([])
      expect(one(findings, 'key service').state).toBe('weak')
      expect(one(findings, 'collateral service').nextStep).toContain('--pccs-service')
    })
  })

  describe('of what answers', () => {
    it('says what it may not see, and looks at the rest', async () => {
      const findings = await examined(GOOD, {}, { forbidden: ['pods', 'endpointslices'] })
      const told = findings.filter(({ what }) => what === 'permissions')
      expect(told.map(({ wanted }) => wanted)).toEqual([
        'to list pods in all namespaces',
        'to list services and endpointslices (key service) in all namespaces',
        'to list services and endpointslices (collateral service) in all namespaces',
      ])
      expect(told[0]?.seen).toContain('cannot list resource "pods"')
      expect(one(findings, 'SGX device plugin').state).toBe('good')
      expect(findings.map(({ what }) => what)).not.toContain('EPC')
    })

    it('says that a version is too old, and that nobody verifies who answers', async () => {
      const findings = await examined(GOOD, {}, { version: 'v1.31.4', isUnverified: true })
      expect(one(findings, 'Kubernetes')).toMatchObject({ state: 'weak' })
      expect(one(findings, 'Kubernetes’ certificate')).toMatchObject({ state: 'weak' })
    })

    it.each<[string, ApiServerOptions, string]>([
      ['a stranger', { isStranger: true }, 'REFUSED'],
      ['what is not JSON', { answer: '<html>welcome</html>' }, 'ANSWER'],
      ['silence', { isSilent: true }, 'UNREACHABLE'],
      ['amounts that are none', {}, 'ANSWER'],
    ])('takes %s for what it is', async (what, how, code) => {
      const spoilt = what.startsWith('amounts') ? [intelNode('sgx-1', 'plenty')] : GOOD
      const failed = await examined(spoilt, {}, how).catch((error: unknown) => error)
      expect(failed).toBeInstanceOf(ClusterError)
      expect(failed).toMatchObject({ code })
    })

    it('ends, whatever is answered, with findings or a refusal', { timeout: 120_000 }, async () => {
      let items: unknown = []
      const answer = (path: string) =>
        JSON.stringify(path.startsWith('/version') ? { gitVersion: 'v1.36.0' } : { items })
      const { kubeconfig } = await serverOf([], { answer })
      const cluster = openCluster({ kubeconfig })
      const plausible = fc.oneof(fc.jsonValue(), ...GOOD.map(object => fc.constant(object)))
      const spoilt = fc.tuple(plausible, fc.jsonValue(), fc.nat(8)).map(spoil)
      const any = fc.oneof(fc.jsonValue(), fc.array(spoilt, { maxLength: 3 }))
      await fc.assert(
        fc.asyncProperty(any, async value => {
          items = value
          const findings = await examineCluster(cluster, ONE).catch((error: unknown) => error)
          const ended = findings instanceof ClusterError ? findings.code : Array.isArray(findings)
          expect(['ANSWER', true], String(findings)).toContain(ended)
        }),
        { numRuns: process.env['SLOW'] === '1' ? 1000 : 100 },
      )
    })

    it('puts nothing on a terminal that is no name', async () => {
      const hostile = node('\u001b]0;title\u0007')
      await expect(examined([hostile])).rejects.toMatchObject({ code: 'ANSWER' })
    })

    it('does not read pages for ever', { timeout: 120_000 }, async () => {
      const answer = (path: string) =>
        path.startsWith('/version')
          ? JSON.stringify({ gitVersion: 'v1.36.0' })
          : JSON.stringify({ items: [], metadata: { continue: 'more' } })
      await expect(examined([], {}, { answer })).rejects.toMatchObject({ code: 'ANSWER' })
    })

    it('refuses a kubeconfig that is none, or has no such context', async () => {
      const { kubeconfig } = await serverOf(GOOD)
      for (const options of [{ kubeconfig: '/nowhere' }, { kubeconfig, context: 'other' }]) {
        expect(() => openCluster(options)).toThrow(ClusterError)
      }
    })
  })
})
