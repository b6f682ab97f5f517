import type { Cluster, ClusterPod, ClusterService } from '../kubernetes/cluster.ts'
import type { ClusterFinding } from './finding.ts'

/** A service by its name, `NAMESPACE/NAME`. */
export interface ServiceName {
  readonly namespace: string
  readonly name: string
}

/** A service that jobs need: of the chart, unless another is named. */
export interface NeededService {
  readonly what: 'key service' | 'collateral service'
  readonly component: 'kms' | 'pccs'
  readonly named: ServiceName | undefined
}

/** Whether a service that jobs need is there, and pods of it are ready. */
export async function serviceFindings(
  cluster: Cluster,
  pods: readonly ClusterPod[],
  needed: NeededService,
): Promise<readonly ClusterFinding[]> {
  const { component, named, what } = needed
  if (named !== undefined) {
    const service = await cluster.service(named.namespace, named.name)
    if (service !== undefined) return [endpointFinding(what, service, pods)]
    const seen = `there is no service ${named.namespace}/${named.name}`
    const nextStep = 'kubectl get services -A lists those that there are'
    return [{ what, state: 'missing', wanted: 'a service', seen, nextStep }]
  }
  const found = await cluster.services({
    'app.kubernetes.io/name': 'cloister',
    'app.kubernetes.io/component': component,
  })
  if (found.length > 0) return found.map(service => endpointFinding(what, service, pods))
  return [
    {
      ...{ what, state: 'weak', wanted: 'one that the machines reach' },
      seen: 'none of the chart in this cluster; one elsewhere cannot be seen from here',
      nextStep: `helm install, docs/kubernetes.md; one by another name: --${component}-service NAMESPACE/NAME`,
    },
  ]
}

function endpointFinding(
  what: string,
  service: ClusterService,
  pods: readonly ClusterPod[],
): ClusterFinding {
  const { endpoints, name, namespace, readyEndpoints } = service
  const at = `${namespace}/${name}`
  const common = {
    what,
    wanted: 'ready endpoints',
    seen: `${at}: ${readyEndpoints} of ${endpoints} ready`,
  }
  if (readyEndpoints > 0 && readyEndpoints === endpoints) return { ...common, state: 'good' }
  const reasons = [...new Set(podsOf(service, pods).flatMap(({ waiting }) => waiting))]
  const why = reasons.length === 0 ? '' : ` (${reasons.join(', ')})`
  return {
    ...common,
    seen: `${common.seen}${why}`,
    state: readyEndpoints === 0 ? 'missing' : 'weak',
    nextStep: `kubectl --namespace ${namespace} get pods; kubectl --namespace ${namespace} describe service ${name}`,
  }
}

function podsOf({ namespace, selector }: ClusterService, pods: readonly ClusterPod[]) {
  const wanted = Object.entries(selector)
  if (wanted.length === 0) return []
  return pods.filter(
    pod => pod.namespace === namespace && wanted.every(([key, value]) => pod.labels[key] === value),
  )
}
