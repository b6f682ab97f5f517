import type { StoredObject } from '../kubernetes/api-server.test.support.ts'

const INTEL = { 'sgx.intel.com/enclave': '110', 'sgx.intel.com/provision': '110' }

interface NodeOptions {
  readonly allocatable?: Readonly<Record<string, string>>
  readonly isReady?: boolean
  readonly isCordoned?: boolean
  readonly labels?: Readonly<Record<string, string>>
}

/** A machine. */
export function node(name: string, options: NodeOptions = {}): StoredObject {
  const { allocatable = {}, isCordoned = false, isReady = true, labels = {} } = options
  const all = { cpu: '8', memory: '32Gi', pods: '110', ...allocatable }
  const at = '2026-01-01T00:00:00Z'
  const ready = {
    ...{ type: 'Ready', status: isReady ? 'True' : 'False', reason: 'Test', message: 'of a test' },
    ...{ lastHeartbeatTime: at, lastTransitionTime: at },
  }
  return {
    ...{ apiVersion: 'v1', kind: 'Node', metadata: { name, labels } },
    spec: isCordoned ? { unschedulable: true } : {},
    status: { capacity: all, allocatable: all, conditions: [ready] },
  } as StoredObject
}

/** A machine with Intel's device plugin. */
export const intelNode = (name: string, epc: string, options: NodeOptions = {}) =>
  node(name, {
    ...options,
    allocatable: { 'sgx.intel.com/epc': epc, ...INTEL, ...options.allocatable },
    labels: { 'intel.feature.node.kubernetes.io/sgx': 'true', ...options.labels },
  })

/** A machine of g7t with Alibaba Cloud's. */
export const alibabaNode = (name: string, epcMiB: number) =>
  node(name, {
    allocatable: { 'alibabacloud.com/sgx_epc_MiB': String(epcMiB) },
    labels: { 'node.kubernetes.io/instance-type': 'ecs.g7t.2xlarge' },
  })

interface PodOptions {
  readonly namespace?: string
  readonly on?: string
  readonly limits?: Readonly<Record<string, string>>
  readonly before?: readonly {
    readonly limits: Readonly<Record<string, string>>
    readonly stays?: true
  }[]
  readonly phase?: string
  readonly isReady?: boolean
  readonly image?: string
  readonly labels?: Readonly<Record<string, string>>
  readonly waiting?: string
}

/** A pod. */
export function pod(name: string, options: PodOptions = {}): StoredObject {
  const { before = [], image = 'example/app:1', isReady = true, labels = {}, limits = {} } = options
  const { namespace = 'default', on, phase = 'Running', waiting } = options
  const initContainers = before.map(({ limits, stays }, at) => ({
    ...{ name: `before-${at}`, image, resources: { limits, requests: limits } },
    ...(stays === undefined ? {} : { restartPolicy: 'Always' }),
  }))
  const main = { name: 'app', image, resources: { limits, requests: limits } }
  const status = {
    ...{ name: 'app', image, imageID: '', ready: isReady, restartCount: 0 },
    state: waiting === undefined ? { running: {} } : { waiting: { reason: waiting } },
  }
  return {
    ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace, labels } },
    spec: { ...(on === undefined ? {} : { nodeName: on }), initContainers, containers: [main] },
    status: {
      phase,
      conditions: [{ type: 'Ready', status: isReady ? 'True' : 'False' }],
      containerStatuses: [status],
    },
  } as StoredObject
}

/** Labels of the chart's objects. */
export const chartLabels = (component: 'kms' | 'pccs') => ({
  'app.kubernetes.io/name': 'cloister',
  'app.kubernetes.io/component': component,
})

/** A service, and a slice with endpoints that are ready or not. */
export function service(
  name: string,
  ready: readonly boolean[],
  labels: Readonly<Record<string, string>>,
  namespace = 'trust',
): readonly StoredObject[] {
  const port = { name: 'tls', port: 8443, protocol: 'TCP' }
  const own = {
    ...{ apiVersion: 'v1', kind: 'Service', metadata: { name, namespace, labels } },
    spec: { selector: labels, ports: [port] },
  }
  const slice = {
    ...{ apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSlice', addressType: 'IPv4' },
    metadata: { name: `${name}-1`, namespace, labels: { 'kubernetes.io/service-name': name } },
    endpoints: ready.map((isReady, at) => ({
      addresses: [`10.1.0.${at + 1}`],
      conditions: { ready: isReady },
    })),
    ports: [port],
  }
  return [own, slice]
}

/** AESM as Intel's demo and others run it: a pod on each machine. */
export const aesmOn = (on: string) =>
  pod(`intel-sgx-aesmd-${on}`, { namespace: 'sgx', on, image: 'intel/sgx-aesmd-demo:0.32' })

/** A cluster that lacks nothing: two machines with SGX, one without, services of the chart. */
export const GOOD: readonly StoredObject[] = [
  node('plain-1'),
  intelNode('sgx-1', '4Gi'),
  intelNode('sgx-2', '4Gi'),
  aesmOn('sgx-1'),
  aesmOn('sgx-2'),
  ...service('cloister-kms', [true, true, true], chartLabels('kms')),
  ...service('cloister-pccs', [true], chartLabels('pccs')),
]
