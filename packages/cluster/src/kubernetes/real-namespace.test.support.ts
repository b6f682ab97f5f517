import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parse } from 'yaml'
import { SPARK_APPLICATIONS } from '../kubernetes-schemas.test.support.ts'
import { KUBECTL } from '../repository.test.support.ts'
import type { Controlled } from '../run/controllers.test.support.ts'
import { certificate } from './api-server.test.support.ts'
import { PodLogs } from './pod-logs.test.support.ts'
import { type Kubectl, type RealCluster, WHY_NOT_REAL } from './real-api-server.test.support.ts'

// biome-ignore lint/suspicious/noExplicitAny: objects of Kubernetes, which its API server took.
type Any = any

/** The machine of the kubelet below. */
export const MACHINE = 'machine'

const PATH = /^\/containerLogs\/([^/]+\/[^/]+)\/[^/]+$/

/**
 * A machine's kubelet, as far as it is asked for logs, here of `namespace/pod`. It runs nothing.
 * @see https://github.com/kubernetes/kubernetes/blob/master/pkg/kubelet/server/server.go
 */
export class Kubelet extends PodLogs {
  readonly #folder: string
  readonly #server: ReturnType<typeof createServer>

  private constructor(folder: string, server: ReturnType<typeof createServer>) {
    super()
    this.#folder = folder
    this.#server = server
  }

  /** Starts it, and tells the cluster of its machine. */
  static async start(cluster: RealCluster): Promise<Kubelet> {
    const folder = await mkdtemp(join(tmpdir(), 'cloister-kubelet-'))
    const server = createServer(certificate(folder))
    const kubelet = new Kubelet(folder, server)
    server.on('request', (request, response) => {
      const url = new URL(request.url ?? '', 'https://localhost')
      const [, pod] = PATH.exec(url.pathname) ?? []
      if (pod !== undefined) return kubelet.serve(pod, url.searchParams, response)
      response.writeHead(404).end()
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const machine = { apiVersion: 'v1', kind: 'Node', metadata: { name: MACHINE } }
    requireDone(cluster.kubectl(['create', '-f', '-'], JSON.stringify(machine)))
    const status = {
      addresses: [{ type: 'InternalIP', address: '127.0.0.1' }],
      daemonEndpoints: { kubeletEndpoint: { Port: port } },
    }
    requireDone(cluster.kubectl(patchOfStatus('Node', MACHINE, status)))
    return kubelet
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections()
    this.#server.close()
    await once(this.#server, 'close')
    await rm(this.#folder, { recursive: true, force: true })
  }
}

/**
 * A namespace of Kubernetes' own API server, of whose controllers and kubelet tests play the part, as
 * they do of the small server.
 */
export class RealNamespace implements Controlled {
  readonly name: string
  readonly #cluster: RealCluster
  readonly #kubelet: Kubelet

  private constructor(cluster: RealCluster, kubelet: Kubelet, name: string) {
    this.#cluster = cluster
    this.#kubelet = kubelet
    this.name = name
  }

  /** Makes one. */
  static make(cluster: RealCluster, kubelet: Kubelet, name: string): RealNamespace {
    requireDone(cluster.kubectl(['create', 'namespace', name]))
    return new RealNamespace(cluster, kubelet, name)
  }

  kubectl(argv: readonly string[], input?: string): Kubectl {
    return this.#cluster.kubectl(['--namespace', this.name, ...argv], input)
  }

  /** Makes objects, unknown fields refused. */
  create(text: string): Kubectl {
    return this.kubectl(['create', '--validate=strict', '--filename', '-'], text)
  }

  get(kind: string, name: string): Any {
    const argv = ['get', kind, name, '--ignore-not-found', '--output', 'json']
    const { printed } = requireDone(this.kubectl(argv))
    return printed === '' ? undefined : JSON.parse(printed)
  }

  put(object: Any): void {
    requireDone(this.create(JSON.stringify(object)))
  }

  setStatus(kind: string, name: string, status: object): void {
    requireDone(this.kubectl(patchOfStatus(kind, name, status)))
  }

  change(kind: string, name: string, patch: object): void {
    requireDone(this.kubectl(['patch', kind, name, ...merging(patch)]))
  }

  /** As a scheduler does. */
  bind(pod: string): void {
    const binding = {
      ...{ apiVersion: 'v1', kind: 'Binding', metadata: { name: pod } },
      target: { apiVersion: 'v1', kind: 'Node', name: MACHINE },
    }
    const path = `/api/v1/namespaces/${this.name}/pods/${pod}/binding`
    const argv = ['create', '--raw', path, '--filename', '-']
    requireDone(this.#cluster.kubectl(argv, JSON.stringify(binding)))
  }

  log(pod: string, at: string, text: string): void {
    this.#kubelet.log(`${this.name}/${pod}`, at, text)
  }

  endLog(pod: string): void {
    this.#kubelet.end(`${this.name}/${pod}`)
  }

  /** Removes an object, a pod as its kubelet does. */
  remove(kind: string, name: string): void {
    const now = kind === 'Pod' ? ['--force', '--grace-period=0'] : []
    requireDone(this.kubectl(['delete', kind, name, '--cascade=background', ...now]))
  }

  /** All that a run may have, and what is like it. */
  all(): readonly Any[] {
    const { printed } = requireDone(this.kubectl(['get', this.#kinds().join(), '--output', 'json']))
    return JSON.parse(printed).items
  }

  /** The kinds and names of all these. */
  objects(): readonly string[] {
    return this.all()
      .map(({ kind, metadata }) => `${kind} ${metadata.name}`)
      .sort()
  }

  /** The same, when the garbage collector has been there. */
  leftover(): readonly string[] {
    this.collectGarbage()
    return this.objects()
  }

  /** Removes what had an owner that is gone, as the garbage collector does. */
  collectGarbage(): void {
    for (;;) {
      const all = this.all()
      const uids = new Set(all.map(({ metadata }) => metadata.uid))
      const garbage = all.filter(({ metadata: { ownerReferences = [] } }) => {
        return ownerReferences.length > 0 && !ownerReferences.some(({ uid }: Any) => uids.has(uid))
      })
      for (const { kind, metadata } of garbage) this.remove(kind, metadata.name)
      if (garbage.length === 0) return
    }
  }

  #kinds(): readonly string[] {
    const own = ['Job', 'Pod', 'ConfigMap', 'ServiceAccount', 'NetworkPolicy', 'Service']
    const crds = requireDone(this.kubectl(['get', 'crd', '--output', 'name'])).printed
    return crds.includes('sparkapplications') ? ['SparkApplication', ...own] : own
  }
}

/** Why there are no such namespaces with the Spark operator's resource; empty where there are. */
export const WHY_NO_NAMESPACE =
  WHY_NOT_REAL !== ''
    ? WHY_NOT_REAL
    : !existsSync(SPARK_APPLICATIONS)
      ? ` (SKIPPED: no file ${SPARK_APPLICATIONS}; set CLOISTER_VECTORS)`
      : existsSync(KUBECTL)
        ? ''
        : ' (skipped: kubectl is not installed here)'

/** The Spark operator's resource, as it is published. */
export const operatorsResource = async (): Promise<Any> =>
  parse(await readFile(SPARK_APPLICATIONS, 'utf8'))

/** Installs a resource, in the place of the one of its name. */
export function installResource(cluster: RealCluster, definition: Any): void {
  const { name } = definition.metadata
  const there = ['get', 'crd', name, '--ignore-not-found', '--output', 'name']
  const { printed } = requireDone(cluster.kubectl(there))
  // No apply: it keeps a second copy, for which an annotation has no room.
  const how = printed === '' ? 'create' : 'replace'
  const text = JSON.stringify(definition)
  untilDone(() => cluster.kubectl([how, '--filename', '-'], text))
  untilDone(() => cluster.kubectl(['wait', 'crd', name, '--for=condition=Established']))
}

/** What the server itself notes of a resource that is new may come between. */
function untilDone(act: () => Kubectl): void {
  for (let tries = 0; tries < 20; tries++) if (act().done) return
  requireDone(act())
}

const merging = (patch: object) => ['--type=merge', '--patch', JSON.stringify(patch)]

const patchOfStatus = (kind: string, name: string, status: object) => [
  ...['patch', kind, name, '--subresource=status'],
  ...merging({ status }),
]

function requireDone(ended: Kubectl): Kubectl {
  if (!ended.done) throw new Error(ended.said)
  return ended
}
