import type {
  V1Container,
  V1EndpointSlice,
  V1Node,
  V1Pod,
  V1Service,
  VersionInfo,
} from '@kubernetes/client-node'
import { ClusterError } from '../errors.ts'
import type { ClusterNode, ClusterPod, ClusterService, Resources } from './cluster.ts'
import { parseQuantity } from './quantity.ts'

/** @see https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-subdomain-names */
const NAME = /^[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$/
const VERSION = /^v\d+\.\d+[-+.\w]{0,60}$/
const REASON = /^[A-Za-z0-9]{1,64}$/

/**
 * Reads a name. The client takes what comes for what it should be, and names go to a terminal.
 * @throws ClusterError ANSWER
 */
function nameFrom(value: unknown): string {
  return matching(NAME, 'a name of Kubernetes', value)
}

function matching(form: RegExp, wanted: string, value: unknown): string {
  if (typeof value === 'string' && form.test(value)) return value
  const seen = JSON.stringify(value ?? null).slice(0, 80)
  throw new ClusterError('ANSWER', `wanted ${wanted}, saw ${seen}`)
}

/** Reads the API's version. @throws ClusterError ANSWER */
export function versionFrom({ gitVersion }: VersionInfo): string {
  return matching(VERSION, 'a version of Kubernetes', gitVersion)
}

/** A service, apart from what stands behind it. */
export type NamedService = Pick<ClusterService, 'name' | 'namespace' | 'selector'>

/** Reads a service. @throws ClusterError ANSWER */
export function serviceFrom({ metadata, spec }: V1Service): NamedService {
  return {
    namespace: nameFrom(metadata?.namespace),
    name: nameFrom(metadata?.name),
    selector: spec?.selector ?? {},
  }
}

/** Counts the endpoints of a slice; what is not said is to be taken for ready. */
export function endpointsOf({ endpoints = [] }: V1EndpointSlice) {
  return {
    endpoints: endpoints.length,
    readyEndpoints: endpoints.filter(({ conditions }) => conditions?.ready !== false).length,
  }
}

/** Reads a node. @throws ClusterError ANSWER */
export function nodeFrom({ metadata, spec, status }: V1Node): ClusterNode {
  const ready = status?.conditions?.find(({ type }) => type === 'Ready')
  return {
    name: nameFrom(metadata?.name),
    labels: metadata?.labels ?? {},
    isUsable: ready?.status === 'True' && spec?.unschedulable !== true,
    allocatable: amounts(status?.allocatable),
  }
}

/** Reads a pod. @throws ClusterError ANSWER */
export function podFrom({ metadata, spec, status }: V1Pod): ClusterPod {
  const containers = spec?.containers ?? []
  const states = [...(status?.initContainerStatuses ?? []), ...(status?.containerStatuses ?? [])]
  return {
    namespace: nameFrom(metadata?.namespace),
    name: nameFrom(metadata?.name),
    node: spec?.nodeName,
    isReady:
      status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ??
      false,
    labels: metadata?.labels ?? {},
    images: containers.map(({ image }) => image ?? ''),
    requests: requestsOf(containers, spec?.initContainers ?? []),
    waiting: states
      .flatMap(({ state }) => state?.waiting?.reason ?? [])
      .filter(reason => REASON.test(reason)),
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
