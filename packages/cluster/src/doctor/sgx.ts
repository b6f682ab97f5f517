import type { ClusterNode, ClusterPod } from '../kubernetes/cluster.ts'
import { instancesThatFit, isLabelledSgx, type SgxNode } from './device-plugin.ts'
import type { ClusterFinding } from './finding.ts'

const MEBI = 2 ** 20

/** What is to run. */
export interface WantedInstances {
  readonly count: number
  readonly epcMiB: number
}

/** Whether machines offer SGX to pods. */
export function devicePluginFinding(
  nodes: readonly ClusterNode[],
  sgx: readonly SgxNode[],
): ClusterFinding {
  const what = 'SGX device plugin'
  const wanted = 'EPC, enclave and provision devices on a machine'
  const usable = sgx.filter(({ lacking, node }) => node.isUsable && lacking.length === 0)
  const offering = new Set(sgx.map(({ node }) => node.name))
  const silent = nodes.filter(node => isLabelledSgx(node) && !offering.has(node.name))
  if (usable.length === 0) {
    return {
      ...{ what, state: 'missing', wanted },
      seen: seenWithout(nodes, sgx, silent),
      nextStep: nextStepWithout(sgx, silent),
    }
  }
  const plugins = [...new Set(usable.map(({ plugin }) => plugin))].join(' and ')
  const seen = `${plugins}: ${namesOf(usable.map(({ node }) => node))}`
  const troubled = [
    ...silent.map(({ name }) => `${name} is labelled for SGX and offers none`),
    ...sgx
      .filter(one => !usable.includes(one))
      .map(({ lacking, node }) =>
        lacking.length > 0 ? `${node.name} lacks ${lacking.join()}` : `${node.name} is not ready`,
      ),
  ]
  if (troubled.length === 0) return { what, state: 'good', wanted, seen }
  const nextStep = 'look at the plugin’s pod there: kubectl get pods -A -o wide'
  return { what, state: 'weak', wanted, seen: `${seen}; ${troubled.join('; ')}`, nextStep }
}

function seenWithout(
  nodes: readonly ClusterNode[],
  sgx: readonly SgxNode[],
  silent: readonly ClusterNode[],
): string {
  if (sgx.length > 0) {
    return sgx
      .map(({ lacking, node }) =>
        lacking.length > 0 ? `${node.name} lacks ${lacking.join()}` : `${node.name} is not ready`,
      )
      .join('; ')
  }
  if (silent.length > 0) return `none on ${namesOf(silent)}, which are labelled for SGX`
  return `none on ${nodes.length} machines`
}

function nextStepWithout(sgx: readonly SgxNode[], silent: readonly ClusterNode[]): string {
  if (sgx.some(({ lacking }) => lacking.length > 0)) {
    return 'run the plugin with enclave and provision devices, and let /dev/sgx_provision be used'
  }
  if (sgx.length > 0) return 'kubectl uncordon it, or find out why it is not ready'
  return silent.length > 0
    ? 'install Intel’s SGX device plugin, or ACK’s: docs/kubernetes.md'
    : 'add machines with SGX (Alibaba Cloud: g7t, g8i), then their device plugin: docs/kubernetes.md'
}

/** Whether the instances that are wanted have EPC left. */
export function epcFinding(sgx: readonly SgxNode[], wanted: WantedInstances): ClusterFinding {
  const { count, epcMiB } = wanted
  const usable = sgx.filter(({ lacking, node }) => node.isUsable && lacking.length === 0)
  const fits = usable.reduce((sum, node) => sum + instancesThatFit(node, epcMiB * MEBI), 0)
  const free = usable.map(
    ({ epcBytes, freeEpcBytes, node }) =>
      `${node.name} ${Math.floor(freeEpcBytes / MEBI)} of ${Math.floor(epcBytes / MEBI)} MiB free`,
  )
  const common = {
    what: 'EPC',
    wanted: `${count} × ${epcMiB} MiB`,
    seen: `${fits} fit${fits === 1 ? 's' : ''}: ${free.join(', ') || 'no machine that is ready offers EPC'}`,
  }
  if (fits >= count) return { ...common, state: 'good' }
  const most = Math.max(0, ...usable.map(({ epcBytes }) => epcBytes))
  const nextStep =
    most < epcMiB * MEBI
      ? 'ask for less EPC in the image, or add larger machines: no machine has so much'
      : 'wait for other jobs to end, ask for fewer or smaller instances, or add machines'
  return { ...common, state: 'missing', nextStep }
}

/** Whether something that is named for AESM runs where SGX is. */
export function aesmFinding(sgx: readonly SgxNode[], pods: readonly ClusterPod[]): ClusterFinding {
  const what = 'AESM'
  const wanted = 'aesmd on each machine with SGX, for quotes made outside the process'
  const serving = pods.filter(pod => isAesm(pod) && pod.isReady)
  const without = sgx.filter(({ node }) => !serving.some(pod => pod.node === node.name))
  const serves = sgx.length - without.length
  if (without.length === 0) {
    return {
      what,
      state: 'good',
      wanted,
      seen: `a pod of it on ${serves} of ${sgx.length} machines`,
    }
  }
  return {
    ...{ what, state: 'weak', wanted },
    seen: `a pod of it on ${serves} of ${sgx.length} machines; one that runs outside Kubernetes cannot be seen`,
    nextStep:
      'on the machine: systemctl status aesmd; or run it as a DaemonSet. Not needed for quotes made in the process',
  }
}

const isAesm = ({ images, labels, name }: ClusterPod) =>
  [name, ...images, ...Object.values(labels)].some(text => /(^|[^a-z])aesmd?([^a-z]|$)/i.test(text))

function namesOf(nodes: readonly ClusterNode[]): string {
  const names = nodes.map(({ name }) => name)
  return names.length <= 5
    ? names.join(', ')
    : `${names.slice(0, 5).join(', ')} and ${names.length - 5} more`
}
