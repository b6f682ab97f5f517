import {
  ApiException,
  CoreV1Api,
  DiscoveryV1Api,
  setHeaderMiddleware,
  VersionApi,
} from '@kubernetes/client-node'
import { ClusterError } from '../errors.ts'
import type { Cluster, ClusterService } from './cluster.ts'
import { type ClusterOptions, clusterOf } from './kubeconfig.ts'
import {
  endpointsOf,
  type NamedService,
  nodeFrom,
  podFrom,
  serviceFrom,
  versionFrom,
} from './objects.ts'
import { selectorOf } from './selector.ts'
import { messageIn } from './status.ts'

/** How many objects are asked for at a time. */
const PAGE = 500
/** Whoever answers might go on for ever. */
const MOST_PAGES = 400

/**
 * A cluster, through its API.
 * @throws ClusterError KUBECONFIG
 * @see https://kubernetes.io/docs/reference/kubernetes-api/
 */
export function openCluster(options: ClusterOptions = {}): Cluster {
  const { config, cluster } = clusterOf(options)
  const core = config.makeApiClient(CoreV1Api)
  const discovery = config.makeApiClient(DiscoveryV1Api)
  const call = { middleware: [deadline(options.timeoutMs ?? 10_000)] }

  async function withEndpoints(service: NamedService): Promise<ClusterService> {
    const { name, namespace } = service
    const labelSelector = selectorOf({ 'kubernetes.io/service-name': name })
    const slices = await paged(
      more => discovery.listNamespacedEndpointSlice({ namespace, labelSelector, ...more }, call),
      endpointsOf,
    )
    const sum = (numbers: readonly number[]) => numbers.reduce((all, number) => all + number, 0)
    return {
      ...service,
      endpoints: sum(slices.map(({ endpoints }) => endpoints)),
      readyEndpoints: sum(slices.map(({ readyEndpoints }) => readyEndpoints)),
    }
  }

  return {
    url: cluster.server,
    isVerified: cluster.server.startsWith('https:') && !cluster.skipTLSVerify,
    async version() {
      return await asked(config.makeApiClient(VersionApi).getCode({}, call), versionFrom)
    },
    async nodes() {
      return await paged(more => core.listNode(more, call), nodeFrom)
    },
    async pods() {
      // Those that are over have given back what they took.
      const fieldSelector = 'status.phase!=Succeeded,status.phase!=Failed'
      return await paged(
        more => core.listPodForAllNamespaces({ fieldSelector, ...more }, call),
        podFrom,
      )
    },
    async services(labels) {
      const labelSelector = selectorOf(labels)
      const found = await paged(
        more => core.listServiceForAllNamespaces({ labelSelector, ...more }, call),
        serviceFrom,
      )
      return await Promise.all(found.map(withEndpoints))
    },
    async service(namespace, name) {
      try {
        return await withEndpoints(
          await asked(core.readNamespacedService({ namespace, name }, call), serviceFrom),
        )
      } catch (error) {
        if (isStatus(error, 404)) return undefined
        throw error
      }
    },
  }
}

interface Page<T> {
  readonly items: readonly T[]
  readonly metadata?: { readonly _continue?: string }
}

async function paged<T, Read>(
  list: (more: { readonly limit: number; readonly _continue?: string }) => Promise<Page<T>>,
  read: (item: T) => Read,
): Promise<readonly Read[]> {
  const all: Read[] = []
  let next: string | undefined
  for (let pages = 0; pages < MOST_PAGES; pages++) {
    const page = await asked(
      list({ limit: PAGE, ...(next ? { _continue: next } : {}) }),
      ({ items, metadata }) => ({ read: items.map(read), next: metadata?._continue }),
    )
    all.push(...page.read)
    next = page.next
    if (next === undefined || next === '') return all
  }
  throw new ClusterError(
    'ANSWER',
    `the cluster has more than ${MOST_PAGES * PAGE} of what it lists`,
  )
}

/** What was asked for, once it is read as what it should be. */
async function asked<T, Read>(answer: Promise<T>, read: (value: T) => Read): Promise<Read> {
  try {
    return read(await answer)
  } catch (cause) {
    throw cause instanceof ClusterError ? cause : clusterErrorFrom(cause)
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
