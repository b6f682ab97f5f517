import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parse } from 'yaml'
import type { KubernetesObject, KubernetesSchemas } from '../kubernetes-schemas.test.support.ts'
import { certificate, kubeconfigText } from './api-server.test.support.ts'
import { PodLogs } from './pod-logs.test.support.ts'

// biome-ignore lint/suspicious/noExplicitAny: objects of Kubernetes, validated by its schemas.
type Any = any

/** A question that was asked, as rules of RBAC name it. */
export interface Asked {
  readonly verb: string
  readonly group: string
  readonly resource: string
}

interface Stored {
  readonly key: string
  object: Any
}

interface Change {
  readonly version: number
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'
  readonly collection: string
  readonly object: Any
}

interface Watch {
  readonly collection: string
  readonly chosen: (object: Any) => boolean
  readonly bookmarks: boolean
  readonly response: ServerResponse
}

const TOKEN = 'a-token-of-a-test'
const PATH =
  /^\/(api\/v1|apis\/([a-z0-9.]+)\/v1(?:beta2)?)\/namespaces\/([^/]+)\/([a-z]+)(?:\/([^/]+)(?:\/(log))?)?$/
const KINDS: Readonly<Record<string, string>> = {
  ...{ jobs: 'Job', pods: 'Pod', configmaps: 'ConfigMap', services: 'Service', events: 'Event' },
  ...{ serviceaccounts: 'ServiceAccount', networkpolicies: 'NetworkPolicy' },
  sparkapplications: 'SparkApplication',
}

/**
 * Stands in for a cluster's API where objects are made, changed, watched and removed, as it is
 * published: strict fields, 409 for a name that is taken, merge patches, objects that are applied, watches from a version with
 * bookmarks, `ERROR` with 410 for a version that is too old, removal of what an owner had, logs that
 * are followed. Controllers and kubelets are the tests.
 * @see https://kubernetes.io/docs/reference/using-api/api-concepts/
 * @see https://kubernetes.io/docs/concepts/architecture/garbage-collection/
 */
export class WritableApiServer {
  /** All that was asked. */
  readonly asked: Asked[] = []
  /** Verbs and collections that the user may not: `create jobs`. */
  readonly forbidden = new Set<string>()
  /** Verbs and collections that are done, and never answered. */
  readonly silent = new Set<string>()
  /** Whether nothing but 503 is answered. */
  isAway = false
  /** Whether the Spark operator’s resource is known. */
  hasSparkOperator = true
  /** Whether there is the namespace in which objects are made. */
  hasNamespace = true
  readonly #schemas: KubernetesSchemas | undefined
  readonly #objects = new Map<string, Stored>()
  readonly #changes: Change[] = []
  readonly #watches = new Set<Watch>()
  readonly #logs = new PodLogs()
  readonly #wanted = new Set<() => void>()
  #version = 100
  /** Changes up to this version are forgotten. */
  #compacted = 0
  #folder = ''
  #server = createServer()

  private constructor(schemas: KubernetesSchemas | undefined) {
    this.#schemas = schemas
  }

  /** @param schemas - What objects are validated by when they are made */
  static async start(schemas?: KubernetesSchemas): Promise<WritableApiServer> {
    const made = new WritableApiServer(schemas)
    await made.#listen()
    return made
  }

  get kubeconfig(): string {
    return join(this.#folder, 'kubeconfig')
  }

  async #listen(): Promise<void> {
    this.#folder = await mkdtemp(join(tmpdir(), 'cloister-api-server-'))
    this.#server = createServer(certificate(this.#folder), (request, response) => {
      void this.#serve(request, response)
    })
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    const { port } = this.#server.address() as AddressInfo
    const trust = { 'certificate-authority': join(this.#folder, 'tls.crt') }
    const text = kubeconfigText(`https://localhost:${port}`, trust, TOKEN)
    await writeFile(this.kubeconfig, text)
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections()
    this.#server.close()
    await once(this.#server, 'close')
    await rm(this.#folder, { recursive: true, force: true })
  }

  /** The objects of a kind. */
  all(kind: string): readonly Any[] {
    return [...this.#objects.values()].map(({ object }) => object).filter(one => one.kind === kind)
  }

  /** One object. */
  get(kind: string, name: string): Any {
    return this.all(kind).find(({ metadata }) => metadata.name === name)
  }

  /** Resolves when something holds of what is stored or asked. */
  async until(holds: () => boolean): Promise<void> {
    await new Promise<void>(resolve => {
      const look = () => {
        if (!holds()) return
        this.#wanted.delete(look)
        resolve()
      }
      this.#wanted.add(look)
      look()
    })
  }

  /** Puts an object there, or in the place of the one of its name, as controllers do. */
  put(object: Any): Any {
    const collection = collectionOf(object)
    const key = `${collection} ${object.metadata.name}`
    const before = this.#objects.get(key)
    this.#version += 1
    const { namespace = 'default', uid = randomUUID() } = before?.object.metadata ?? object.metadata
    const stored = {
      ...object,
      metadata: {
        ...{ creationTimestamp: '2026-01-01T00:00:00Z', ...object.metadata, namespace, uid },
        resourceVersion: String(this.#version),
      },
    }
    this.#objects.set(key, { key, object: stored })
    this.#tell(before === undefined ? 'ADDED' : 'MODIFIED', collection, stored)
    return stored
  }

  /** Changes a pod's or a job's status. */
  setStatus(kind: string, name: string, status: object): void {
    const object = this.get(kind, name)
    this.put({ ...object, status: { ...object.status, ...status } })
  }

  /** Removes an object, and what it owned. */
  remove(object: Any): void {
    const collection = collectionOf(object)
    this.#objects.delete(`${collection} ${object.metadata.name}`)
    this.#version += 1
    const resourceVersion = String(this.#version)
    this.#tell('DELETED', collection, {
      ...object,
      metadata: { ...object.metadata, resourceVersion },
    })
    for (const { object: other } of [...this.#objects.values()]) {
      const owners: readonly Any[] = other.metadata.ownerReferences ?? []
      if (owners.some(({ uid }) => uid === object.metadata.uid)) this.remove(other)
    }
  }

  /** How many watches are open on a collection such as `pods`. */
  watchers(collection: string): number {
    return [...this.#watches].filter(watch => watch.collection === collection).length
  }

  /** Tells watches how far they are. */
  bookmark(): void {
    for (const { bookmarks, collection, response } of this.#watches) {
      if (!bookmarks) continue
      const metadata = { resourceVersion: String(this.#version) }
      send(response, 'BOOKMARK', { kind: KINDS[collection], metadata })
    }
  }

  /** Forgets all changes so far: a watch from before is too old. */
  compact(): void {
    this.#version += 1
    this.#compacted = this.#version
  }

  /** Ends all watches and logs that are followed, as a proxy between does. */
  drop(): void {
    for (const { response } of [...this.#watches]) response.destroy()
    this.#watches.clear()
    this.#logs.drop()
  }

  /** Says something to all who watch. */
  say(text: string): void {
    for (const { response } of this.#watches) response.write(text)
  }

  /** A line of a pod's log, as its kubelet stamps it. */
  log(pod: string, at: string, text: string): void {
    this.#logs.log(pod, at, text)
  }

  /** The pod's container has ended. */
  endLog(pod: string): void {
    this.#logs.end(pod)
  }

  /** The pod is gone, and with it its log: there may be another of its name. */
  forgetLog(pod: string): void {
    this.#logs.forget(pod)
  }

  #tell(type: Change['type'], collection: string, object: Any): void {
    this.#changes.push({ version: this.#version, type, collection, object })
    for (const watch of this.#watches) {
      if (watch.collection === collection && watch.chosen(object))
        send(watch.response, type, object)
    }
    this.#look()
  }

  #look(): void {
    for (const look of [...this.#wanted]) look()
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '', 'https://localhost')
    const chunks: Buffer[] = []
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk)
    const [, , group = '', , collection = '', name, log] = PATH.exec(url.pathname) ?? []
    const answer = (code: number, body: object) => {
      response.writeHead(code, { 'content-type': 'application/json' })
      response.end(JSON.stringify(body))
    }
    // No web sockets: who prefers them for watches takes a stream then.
    if (this.isAway || request.headers.upgrade !== undefined)
      return answer(503, status(503, 'the server is currently unable to handle it'))
    if (request.headers.authorization !== `Bearer ${TOKEN}`) {
      return answer(401, status(401, 'Unauthorized'))
    }
    if (url.pathname === '/apis/sparkoperator.k8s.io/v1beta2' && this.hasSparkOperator) {
      return answer(200, { kind: 'APIResourceList', resources: [{ name: 'sparkapplications' }] })
    }
    const isMissing = collection === 'sparkapplications' && !this.hasSparkOperator
    if (KINDS[collection] === undefined || isMissing) {
      response.writeHead(404, { 'content-type': 'text/plain' })
      response.end('404 page not found\n')
      return
    }
    const isWatch = url.searchParams.get('watch') === 'true'
    const verb = verbOf(request.method ?? '', name !== undefined, isWatch)
    const isApplied =
      request.headers['content-type']?.startsWith('application/apply-patch') === true
    const isNew = isApplied && !this.#objects.has(`${collection} ${name}`)
    const resource = log === undefined ? collection : `${collection}/log`
    // Who applies what is not there yet makes it, too.
    for (const act of isNew ? [verb, 'create'] : [verb]) {
      this.asked.push({ verb: act, group, resource })
      this.#look()
      if (!this.forbidden.has(`${act} ${resource}`)) continue
      const message = `${resource} is forbidden: User "test" cannot ${act} resource "${resource}"`
      return answer(403, status(403, message))
    }
    if (log !== undefined) return this.#serveLog(name ?? '', url.searchParams, response, answer)
    if (isWatch) return this.#serveWatch(collection, url.searchParams, response)
    const text = Buffer.concat(chunks).toString()
    const [code, said] = isApplied
      ? this.#apply(collection, parse(text))
      : this.#answer({
          ...{ verb, collection, name, query: url.searchParams },
          body: text === '' ? undefined : JSON.parse(text),
        })
    if (!this.silent.has(`${verb} ${resource}`)) answer(code, said)
  }

  #answer(question: {
    readonly verb: string
    readonly collection: string
    readonly name: string | undefined
    readonly body: Any
    readonly query: URLSearchParams
  }): readonly [number, object] {
    const { verb, collection, name, body, query } = question
    if (verb === 'create') return this.#create(collection, body)
    if (verb === 'list') {
      const items = this.all(KINDS[collection] ?? '').filter(chosenBy(query))
      return [200, { kind: 'List', metadata: { resourceVersion: String(this.#version) }, items }]
    }
    const found = this.#objects.get(`${collection} ${name}`)?.object
    if (found === undefined) return [404, status(404, `${collection} "${name}" not found`)]
    if (verb === 'get') return [200, found]
    const uid = verb === 'delete' ? body?.preconditions?.uid : body?.metadata?.uid
    if (uid !== undefined && uid !== found.metadata.uid) {
      return [409, status(409, 'the UID in the precondition does not match')]
    }
    if (verb === 'patch') return [200, this.put(merged(found, body))]
    this.remove(found)
    return [200, { kind: 'Status', status: 'Success' }]
  }

  /** Of one field manager: what it applies is the whole object. */
  #apply(collection: string, body: Any): readonly [number, object] {
    const isNew = !this.#objects.has(`${collection} ${body.metadata.name}`)
    return this.#refusal(body) ?? [isNew ? 201 : 200, this.put(body)]
  }

  #refusal(body: Any): readonly [number, object] | undefined {
    const mistakes = this.#schemas?.mistakes(body as KubernetesObject) ?? []
    if (mistakes.length === 0) return undefined
    return [400, status(400, `strict decoding error: ${mistakes.join()}`)]
  }

  #create(collection: string, body: Any): readonly [number, object] {
    const refusal = this.#refusal(body)
    if (refusal !== undefined) return refusal
    if (!this.hasNamespace) return [404, status(404, 'namespaces "jobs" not found')]
    if (this.#objects.has(`${collection} ${body.metadata.name}`)) {
      return [409, status(409, `${collection} "${body.metadata.name}" already exists`)]
    }
    // A pod is pending from when it is there.
    return [201, this.put(body.kind === 'Pod' ? { ...body, status: { phase: 'Pending' } } : body)]
  }

  #serveWatch(collection: string, query: URLSearchParams, response: ServerResponse): void {
    const from = Number(query.get('resourceVersion'))
    const chosen = chosenBy(query)
    response.writeHead(200, { 'content-type': 'application/json' })
    response.flushHeaders()
    if (from < this.#compacted) {
      send(response, 'ERROR', status(410, `too old resource version: ${from}`))
      response.end()
      return
    }
    for (const change of this.#changes) {
      if (change.version <= from || change.collection !== collection) continue
      if (chosen(change.object)) send(response, change.type, change.object)
    }
    const bookmarks = query.get('allowWatchBookmarks') === 'true'
    const watch = { collection, chosen, bookmarks, response }
    this.#watches.add(watch)
    response.once('close', () => {
      this.#watches.delete(watch)
      this.#look()
    })
    this.#look()
  }

  #serveLog(
    pod: string,
    query: URLSearchParams,
    response: ServerResponse,
    answer: (code: number, body: object) => void,
  ): void {
    const state = this.get('Pod', pod)?.status?.containerStatuses?.[0]?.state ?? {}
    if (state.running === undefined && state.terminated === undefined) {
      answer(400, status(400, `container "${query.get('container')}" is waiting to start`))
      return
    }
    this.#logs.serve(pod, query, response)
  }
}

function verbOf(method: string, isNamed: boolean, isWatch: boolean): string {
  switch (method) {
    case 'POST':
      return 'create'
    case 'PATCH':
      return 'patch'
    case 'DELETE':
      return 'delete'
    default:
      return isNamed ? 'get' : isWatch ? 'watch' : 'list'
  }
}

function send(response: ServerResponse, type: string, object: object): void {
  response.write(`${JSON.stringify({ type, object })}\n`)
}

const collectionOf = ({ kind }: Any): string =>
  Object.keys(KINDS).find(collection => KINDS[collection] === kind) ?? ''

const status = (code: number, message: string) => ({
  ...{ apiVersion: 'v1', kind: 'Status', metadata: {}, status: 'Failure', message, code },
})

function chosenBy(query: URLSearchParams): (object: Any) => boolean {
  const terms = (name: string) =>
    (query.get(name) ?? '')
      .split(',')
      .filter(term => term !== '')
      .map(term => term.split('=') as [string, string])
  return object =>
    terms('labelSelector').every(([label, value]) => object.metadata.labels?.[label] === value) &&
    terms('fieldSelector').every(([path, value]) => {
      const seen = path.split('.').reduce((at: Any, step) => at?.[step], object)
      return seen === value
    })
}

/** @see https://www.rfc-editor.org/rfc/rfc7386 */
function merged(target: Any, patch: Any): Any {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch
  const result = { ...target }
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key]
    else result[key] = merged(result[key], value)
  }
  return result
}
