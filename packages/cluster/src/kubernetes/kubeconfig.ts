import { type Cluster, KubeConfig } from '@kubernetes/client-node'
import { ClusterError } from '../errors.ts'

/** Which cluster. */
export interface ClusterOptions {
  /** A kubeconfig; what `KUBECONFIG` names, `~/.kube/config` or the pod's own account unless told. */
  readonly kubeconfig?: string
  /** A context in it; the current one unless told. */
  readonly context?: string
  /** Until each answer must have come; 10,000 unless told. */
  readonly timeoutMs?: number
}

/**
 * A kubeconfig, and the cluster of its context.
 * @throws ClusterError KUBECONFIG
 */
export function clusterOf(options: ClusterOptions): {
  readonly config: KubeConfig
  readonly cluster: Cluster
} {
  const config = configFrom(options)
  const cluster = config.getCurrentCluster()
  if (cluster !== null) return { config, cluster }
  const named = options.context ?? config.getCurrentContext()
  throw new ClusterError('KUBECONFIG', `the kubeconfig has no cluster for the context ${named}`)
}

function configFrom({ kubeconfig, context }: ClusterOptions): KubeConfig {
  const config = new KubeConfig()
  try {
    if (kubeconfig === undefined) config.loadFromDefault()
    else config.loadFromFile(kubeconfig)
  } catch (cause) {
    const which = kubeconfig ?? 'the kubeconfig'
    throw new ClusterError('KUBECONFIG', `${which} cannot be read as one`, { cause })
  }
  // The library then takes whatever listens on this machine for a cluster.
  if (kubeconfig === undefined && config.getCurrentContext() === 'loaded-context') {
    throw new ClusterError('KUBECONFIG', 'there is no kubeconfig here, and no pod’s own account')
  }
  if (context !== undefined) config.setCurrentContext(context)
  return config
}
