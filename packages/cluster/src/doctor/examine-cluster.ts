import { ClusterError } from '../errors.ts'
import type { Cluster, ClusterNode, ClusterPod } from '../kubernetes/cluster.ts'
import { sgxNodes } from './device-plugin.ts'
import type { ClusterFinding } from './finding.ts'
import { type ServiceName, serviceFindings } from './services.ts'
import { aesmFinding, devicePluginFinding, epcFinding, type WantedInstances } from './sgx.ts'

/** What is asked of a cluster. */
export interface ExamineOptions {
  readonly instances: WantedInstances
  /** Another key service than the chart's. */
  readonly kmsService?: ServiceName
  /** Another collateral service than the chart's. */
  readonly pccsService?: ServiceName
}

/** The oldest version that the chart takes. */
const OLDEST_MINOR = 34

/**
 * Looks at what jobs in enclaves need of a cluster. What the user may not see is a finding of its own.
 * @throws ClusterError UNREACHABLE, ANSWER; REFUSED where it does not know the user at all
 */
export async function examineCluster(
  cluster: Cluster,
  options: ExamineOptions,
): Promise<readonly ClusterFinding[]> {
  const findings: ClusterFinding[] = [...(await apiFindings(cluster))]
  const nodes = await orRefused(() => cluster.nodes(), 'nodes', findings)
  const pods = await orRefused(() => cluster.pods(), 'pods', findings)
  if (nodes !== undefined) findings.push(...sgxFindings(nodes, pods, options.instances))
  const needed = [
    { what: 'key service', component: 'kms', named: options.kmsService },
    { what: 'collateral service', component: 'pccs', named: options.pccsService },
  ] as const
  for (const one of needed) {
    const found = await orRefused(
      () => serviceFindings(cluster, pods ?? [], one),
      `services and endpointslices (${one.what})`,
      findings,
    )
    findings.push(...(found ?? []))
  }
  return findings
}

async function apiFindings(cluster: Cluster): Promise<readonly ClusterFinding[]> {
  const version = await cluster.version()
  const minor = Number(/^v1\.(\d+)/.exec(version)?.[1])
  const isOld = !(minor >= OLDEST_MINOR)
  const kubernetes: ClusterFinding = {
    ...{
      what: 'Kubernetes',
      wanted: `1.${OLDEST_MINOR} or later`,
      seen: `${version} at ${cluster.url}`,
    },
    ...(isOld
      ? { state: 'weak', nextStep: 'upgrade it: the chart refuses older ones' }
      : { state: 'good' }),
  }
  if (cluster.isVerified) return [kubernetes]
  return [
    kubernetes,
    {
      ...{ what: 'Kubernetes’ certificate', state: 'weak', wanted: 'verified' },
      seen: 'the kubeconfig says not to verify it: whoever is between can answer all of this',
      nextStep: 'put certificate-authority-data in place of insecure-skip-tls-verify',
    },
  ]
}

function sgxFindings(
  nodes: readonly ClusterNode[],
  pods: readonly ClusterPod[] | undefined,
  instances: WantedInstances,
): readonly ClusterFinding[] {
  const sgx = sgxNodes(nodes, pods ?? [])
  const plugin = devicePluginFinding(nodes, sgx)
  // Without pods nobody knows what is free, nor what runs.
  if (pods === undefined || sgx.length === 0) return [plugin]
  return [plugin, epcFinding(sgx, instances), aesmFinding(sgx, pods)]
}

async function orRefused<T>(
  look: () => Promise<T>,
  what: string,
  findings: ClusterFinding[],
): Promise<T | undefined> {
  try {
    return await look()
  } catch (error) {
    if (!(error instanceof ClusterError) || error.code !== 'REFUSED') throw error
    findings.push({
      ...{ what: 'permissions', state: 'weak', wanted: `to list ${what} in all namespaces` },
      seen: error.message,
      nextStep: 'have a cluster role with get and list of these: docs/kubernetes.md#permissions',
    })
    return undefined
  }
}
