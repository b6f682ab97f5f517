import type { V1Container, V1Node, V1Pod } from '@kubernetes/client-node'
import type { ClusterNode, ClusterPod, Resources } from './cluster.ts'
import { parseQuantity } from './quantity.ts'

/** Reads a node. */
export function nodeFrom({ metadata, spec, status }: V1Node): ClusterNode {
  const ready = status?.conditions?.find(({ type }) => type === 'Ready')
  return {
    name: metadata?.name ?? '',
    labels: metadata?.labels ?? {},
    isUsable: ready?.status === 'True' && spec?.unschedulable !== true,
    allocatable: amounts(status?.allocatable),
  }
}

/** Reads a pod. */
export function podFrom({ metadata, spec, status }: V1Pod): ClusterPod {
  const containers = spec?.containers ?? []
  const states = [...(status?.initContainerStatuses ?? []), ...(status?.containerStatuses ?? [])]
  return {
    namespace: metadata?.namespace ?? '',
    name: metadata?.name ?? '',
    node: spec?.nodeName,
    isReady:
      status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ??
      false,
    labels: metadata?.labels ?? {},
    images: containers.map(({ image }) => image ?? ''),
    requests: requestsOf(containers, spec?.initContainers ?? []),
    waiting: states.flatMap(({ state }) => state?.waiting?.reason ?? []),
  }
}

/**
 * What a pod takes: its containers together, or one of those before them where that is more.
 * @see https://kubernetes.io/docs/concepts/workloads/pods/init-containers/#resource-sharing-within-containers
 */
function requestsOf(containers: readonly V1Container[], before: readonly V1Container[]): Resources {
  const staying = before.filter(({ restartPolicy }) => restartPolicy === 'Always')
  const running = new Map<string, number>()
  for (const container of [...containers, ...staying]) {
    for (const [name, amount] of requestOf(container)) {
      running.set(name, (running.get(name) ?? 0) + amount)
    }
  }
  for (const container of before) {
    for (const [name, amount] of requestOf(container)) {
      running.set(name, Math.max(running.get(name) ?? 0, amount))
    }
  }
  return running
}

/** Where only a limit is given, it is the request. */
function requestOf({ resources }: V1Container): Resources {
  return new Map([...amounts(resources?.limits), ...amounts(resources?.requests)])
}

function amounts(quantities: Readonly<Record<string, string>> = {}): Resources {
  return new Map(Object.entries(quantities).map(([name, text]) => [name, parseQuantity(text)]))
}
