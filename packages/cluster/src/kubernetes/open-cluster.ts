import {
  ApiException,
  CoreV1Api,
  DiscoveryV1Api,
  KubeConfig,
  setHeaderMiddleware,
  type V1Service,
  VersionApi,
} from '@kubernetes/client-node'
import { ClusterError } from '../errors.ts'
import type { Cluster, ClusterService } from './cluster.ts'
import { nodeFrom, podFrom } from './objects.ts'

/** Which cluster. */
export interface ClusterOptions {
  /** A kubeconfig; what `KUBECONFIG` names, `~/.kube/config` or the pod's own account unless told. */
  readonly kubeconfig?: string
  /** A context in it; the current one unless told. */
  readonly context?: string
  /** Until each answer must have come; 10,000 unless told. */
  readonly timeoutMs?: number
}

/** How many objects are asked for at a time. */
const PAGE = 500

/**
 * A cluster, through its API.
 * @throws ClusterError KUBECONFIG
 * @see https://kubernetes.io/docs/reference/kubernetes-api/
 */
export function openCluster(options: ClusterOptions = {}): Cluster {
  const config = configFrom(options)
  const cluster = config.getCurrentCluster()
  if (cluster === null) {
    const named = options.context ?? config.getCurrentContext()
    throw new ClusterError('KUBECONFIG', `the kubeconfig has no cluster for the context ${named}`)
  }
  const core = config.makeApiClient(CoreV1Api)
  const discovery = config.makeApiClient(DiscoveryV1Api)
  const call = { middleware: [deadline(options.timeoutMs ?? 10_000)] }

  async function withEndpoints(service: V1Service): Promise<ClusterService> {
    const { name = '', namespace = '' } = service.metadata ?? {}
    const labelSelector = `kubernetes.io/service-name=${name}`
    const slices = await paged(more =>
      discovery.listNamespacedEndpointSlice({ namespace, labelSelector, ...more }, call),
    )
    const endpoints = slices.flatMap(slice => slice.endpoints ?? [])
    return {
      ...{ namespace, name, selector: service.spec?.selector ?? {}, endpoints: endpoints.length },
      // Kubernetes: what is not said is to be taken for ready.
      readyEndpoints: endpoints.filter(({ conditions }) => conditions?.ready !== false).length,
    }
  }

  return {
    url: cluster.server,
    isVerified: cluster.server.startsWith('https:') && !cluster.skipTLSVerify,
    async version() {
      const { gitVersion } = await asked(config.makeApiClient(VersionApi).getCode({}, call))
      return gitVersion
    },
    async nodes() {
      return (await paged(more => core.listNode(more, call))).map(nodeFrom)
    },
    async pods() {
      // Those that are over have given back what they took.
      const fieldSelector = 'status.phase!=Succeeded,status.phase!=Failed'
      const found = await paged(more =>
        core.listPodForAllNamespaces({ fieldSelector, ...more }, call),
      )
      return found.map(podFrom)
    },
    async services(labels) {
      const labelSelector = Object.entries(labels)
        .map(([name, value]) => `${name}=${value}`)
        .join()
      const found = await paged(more =>
        core.listServiceForAllNamespaces({ labelSelector, ...more }, call),
      )
      return await Promise.all(found.map(withEndpoints))
    },
    async service(namespace, name) {
      try {
        return await withEndpoints(
          await asked(core.readNamespacedService({ namespace, name }, call)),
        )
      } catch (error) {
        if (isStatus(error, 404)) return undefined
        throw error
      }
    },
  }
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

interface Page<T> {
  readonly items: readonly T[]
  readonly metadata?: { readonly _continue?: string }
}

async function paged<T>(
  list: (more: { readonly limit: number; readonly _continue?: string }) => Promise<Page<T>>,
): Promise<readonly T[]> {
  const all: T[] = []
  let next: string | undefined
  do {
    const page = await asked(list({ limit: PAGE, ...(next ? { _continue: next } : {}) }))
    all.push(...page.items)
    next = page.metadata?._continue
  } while (next !== undefined && next !== '')
  return all
}

async function asked<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer
  } catch (cause) {
    throw clusterErrorFrom(cause)
  }
}

function clusterErrorFrom(cause: unknown): ClusterError {
  if (cause instanceof ApiException) {
    const said = messageIn(cause.body)
    const isRefusal = cause.code === 401 || cause.code === 403
    const text = `the cluster answered ${cause.code}${said === undefined ? '' : `: ${said}`}`
    return new ClusterError(isRefusal ? 'REFUSED' : 'ANSWER', text, { cause })
  }
  if (cause instanceof SyntaxError || cause instanceof TypeError) {
    return new ClusterError('ANSWER', 'what answers there is not Kubernetes', { cause })
  }
  return new ClusterError('UNREACHABLE', 'the cluster does not answer', {
    cause: cause instanceof Error ? cause : undefined,
  })
}

const isStatus = (error: unknown, status: number) =>
  error instanceof ClusterError &&
  error.cause instanceof ApiException &&
  error.cause.code === status

/** The message of a `Status`, which may come as text. */
function messageIn(body: unknown): string | undefined {
  try {
    const status: unknown = typeof body === 'string' ? JSON.parse(body) : body
    const { message } = { message: undefined, ...Object(status) }
    return typeof message === 'string' ? message.slice(0, 300) : undefined
  } catch {
    return undefined
  }
}

/** The library has no time-outs: its requests take a signal where a header is set. */
function deadline(timeoutMs: number): ReturnType<typeof setHeaderMiddleware> {
  const accepting = setHeaderMiddleware('Accept', 'application/json')
  return {
    pre(request) {
      request.setSignal(AbortSignal.timeout(timeoutMs))
      return accepting.pre(request)
    },
    post: response => accepting.post(response),
  }
}
