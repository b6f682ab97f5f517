import type { ClusterNode, ClusterPod } from '../kubernetes/cluster.ts'

const MEBI = 2 ** 20

/** A device plugin that offers SGX to pods, by the resources that it has. */
interface DevicePlugin {
  readonly name: string
  readonly epc: string
  readonly epcUnitBytes: number
  /** What an instance asks for beside EPC, one of each. */
  readonly beside: readonly string[]
}

/**
 * @see https://intel.github.io/intel-device-plugins-for-kubernetes/cmd/sgx_plugin/README.html
 * @see https://www.alibabacloud.com/help/en/ack/ack-managed-and-ack-dedicated/user-guide/create-an-ack-managed-cluster-for-confidential-computing
 */
const PLUGINS: readonly DevicePlugin[] = [
  {
    ...{ name: 'Intel', epc: 'sgx.intel.com/epc', epcUnitBytes: 1 },
    beside: ['sgx.intel.com/enclave', 'sgx.intel.com/provision'],
  },
  {
    ...{ name: 'Alibaba Cloud', epc: 'alibabacloud.com/sgx_epc_MiB', epcUnitBytes: MEBI },
    beside: [],
  },
]

/** By which Node Feature Discovery says that a machine has SGX. */
const LABELS = [
  'intel.feature.node.kubernetes.io/sgx',
  'feature.node.kubernetes.io/cpu-security.sgx.enabled',
]

/** A machine that offers SGX. */
export interface SgxNode {
  readonly node: ClusterNode
  readonly plugin: string
  readonly epcBytes: number
  readonly freeEpcBytes: number
  /** Resources that the plugin should offer, and does not. */
  readonly lacking: readonly string[]
  /** How many instances more its devices take; EPC apart. */
  readonly freeDevices: number
}

/** Whether a machine says that it has SGX. */
export const isLabelledSgx = ({ labels }: ClusterNode) =>
  LABELS.some(label => labels[label] === 'true')

/** The machines that offer SGX, with what their pods leave of it. */
export function sgxNodes(
  nodes: readonly ClusterNode[],
  pods: readonly ClusterPod[],
): readonly SgxNode[] {
  return nodes.flatMap(node => {
    const plugin = PLUGINS.find(({ epc }) => (node.allocatable.get(epc) ?? 0) > 0)
    if (plugin === undefined) return []
    const own = pods.filter(pod => pod.node === node.name)
    const taken = (resource: string) =>
      own.reduce((sum, { requests }) => sum + (requests.get(resource) ?? 0), 0)
    const offered = (resource: string) => node.allocatable.get(resource) ?? 0
    const free = (resource: string) => Math.max(0, offered(resource) - taken(resource))
    return {
      ...{ node, plugin: plugin.name },
      epcBytes: offered(plugin.epc) * plugin.epcUnitBytes,
      freeEpcBytes: free(plugin.epc) * plugin.epcUnitBytes,
      lacking: plugin.beside.filter(resource => offered(resource) === 0),
      freeDevices: Math.min(Number.MAX_SAFE_INTEGER, ...plugin.beside.map(free)),
    }
  })
}

/** How many instances of a size the machine takes more. */
export function instancesThatFit({ freeDevices, freeEpcBytes }: SgxNode, epcBytes: number): number {
  return Math.min(freeDevices, Math.floor(freeEpcBytes / epcBytes))
}
