import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stringify } from 'yaml'
import type { KubernetesObject } from '../kubernetes-schemas.test.support.ts'

/** An object with what lists are chosen by. */
export interface StoredObject extends KubernetesObject {
  readonly metadata: {
    readonly name: string
    readonly namespace?: string
    readonly labels?: Readonly<Record<string, string>>
  }
  readonly status?: { readonly phase?: string }
}

/** Where a cluster's API is, for whoever tests against it. */
export interface TestCluster {
  readonly kubeconfig: string
  stop(): Promise<void>
}

/** How the small server misbehaves, and whom it lets do what. */
export interface ApiServerOptions {
  /** Collections, such as `pods`, that the user may not list. */
  readonly forbidden?: readonly string[]
  /** What is sent in place of every answer. */
  readonly answer?: string | ((path: string) => string)
  /** Nothing is ever answered. */
  readonly isSilent?: boolean
  /** The token that the kubeconfig has is not the one that the server knows. */
  readonly isStranger?: boolean
  readonly version?: string
  /** The kubeconfig says not to verify the certificate. */
  readonly isUnverified?: boolean
}

const TOKEN = 'a-token-of-a-test'
/** Small, so that lists come in several pages. */
const PAGE = 2

/**
 * A small server that answers as the Kubernetes API is published: collections and single objects,
 * label and field selectors, pages, `Status` for refusals. It stands in for a cluster.
 * @see https://kubernetes.io/docs/reference/using-api/api-concepts/
 */
export async function smallApiServer(
  objects: readonly StoredObject[],
  options: ApiServerOptions = {},
): Promise<TestCluster> {
  const folder = await mkdtemp(join(tmpdir(), 'cloister-api-server-'))
  const server = createServer(certificate(folder), (request, response) => {
    if (options.isSilent === true) return
    const url = new URL(request.url ?? '', 'https://localhost')
    const isKnown = request.headers.authorization === `Bearer ${TOKEN}`
    const [code, body] = isKnown ? answerTo(url, objects, options) : refusal(401, 'Unauthorized')
    response.writeHead(code, { 'content-type': 'application/json' })
    const { answer } = options
    const other = typeof answer === 'function' ? answer(url.pathname) : answer
    response.end(other ?? JSON.stringify(body))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const kubeconfig = join(folder, 'kubeconfig')
  await writeFile(kubeconfig, kubeconfigOf(server, folder, options))
  return {
    kubeconfig,
    async stop() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/** A certificate for this machine, in files of a folder. */
export function certificate(folder: string): { readonly cert: Buffer; readonly key: Buffer } {
  const [cert, key] = [join(folder, 'tls.crt'), join(folder, 'tls.key')]
  const names = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1']
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2']
  const argv = ['req', '-x509', ...kind, ...names, '-keyout', key, '-out', cert]
  execFileSync('openssl', argv, { stdio: 'ignore' })
  return { cert: readFileSync(cert), key: readFileSync(key) }
}

function kubeconfigOf(server: Server, folder: string, options: ApiServerOptions): string {
  const { port } = server.address() as AddressInfo
  const trust =
    options.isUnverified === true
      ? { 'insecure-skip-tls-verify': true }
      : { 'certificate-authority': join(folder, 'tls.crt') }
  return kubeconfigText(`https://localhost:${port}`, trust, options.isStranger ? 'other' : TOKEN)
}

/** A kubeconfig for one cluster and user. */
export function kubeconfigText(server: string, trust: object, token: string): string {
  return stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'test', cluster: { server, ...trust } }],
    users: [{ name: 'test', user: { token } }],
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'test' } }],
    'current-context': 'test',
  })
}

type Answer = readonly [code: number, body: object]

/** Paths of the API: a collection of all namespaces or one, or an object. */
const PATH = /^\/(api\/v1|apis\/[a-z0-9.]+\/v1)(?:\/namespaces\/([^/]+))?\/([a-z]+)(?:\/([^/]+))?$/

const KINDS: Readonly<Record<string, string>> = {
  'api/v1 nodes': 'Node',
  'api/v1 pods': 'Pod',
  'api/v1 services': 'Service',
  'apis/discovery.k8s.io/v1 endpointslices': 'EndpointSlice',
}

function answerTo(
  url: URL,
  objects: readonly StoredObject[],
  { forbidden = [], version = 'v1.36.0' }: ApiServerOptions,
): Answer {
  if (url.pathname === '/version/' || url.pathname === '/version') return [200, versionOf(version)]
  const [, group, namespace, collection = '', name] = PATH.exec(url.pathname) ?? []
  const kind = KINDS[`${group} ${collection}`]
  if (kind === undefined) return refusal(404, 'the server could not find the requested resource')
  if (forbidden.includes(collection)) {
    return refusal(
      403,
      `${collection} is forbidden: User "test" cannot list resource "${collection}"`,
    )
  }
  // As they are stored.
  const own = [...objects]
    .sort(byKey)
    .filter(
      object =>
        object.kind === kind &&
        (namespace === undefined || object.metadata.namespace === namespace),
    )
  if (name !== undefined) {
    const found = own.find(({ metadata }) => metadata.name === name)
    return found === undefined ? refusal(404, `${collection} "${name}" not found`) : [200, found]
  }
  return [200, listOf(kind, own.filter(chosenBy(url.searchParams)), url.searchParams)]
}

const keyOf = ({ metadata }: StoredObject) => `${metadata.namespace ?? ''}/${metadata.name}`
const byKey = (one: StoredObject, other: StoredObject) => (keyOf(one) < keyOf(other) ? -1 : 1)

const versionOf = (gitVersion: string) => ({
  ...{ major: '1', minor: gitVersion.split('.')[1], gitVersion, gitCommit: '', gitTreeState: '' },
  ...{ buildDate: '', goVersion: '', compiler: '', platform: '' },
})

function listOf(kind: string, chosen: readonly StoredObject[], query: URLSearchParams): object {
  const from = Number(query.get('continue') ?? 0)
  const to = from + Math.min(PAGE, Number(query.get('limit') ?? Number.POSITIVE_INFINITY))
  const metadata = { resourceVersion: '1', ...(to < chosen.length ? { continue: String(to) } : {}) }
  const { apiVersion = 'v1' } = chosen[0] ?? {}
  return { apiVersion, kind: `${kind}List`, metadata, items: chosen.slice(from, to) }
}

function chosenBy(query: URLSearchParams): (object: StoredObject) => boolean {
  const terms = (name: string) => (query.get(name) ?? '').split(',').filter(term => term !== '')
  return ({ metadata, status }) =>
    terms('labelSelector').every(term => {
      const [label = '', value] = term.split('=')
      return metadata.labels?.[label] === value
    }) &&
    terms('fieldSelector').every(term => {
      const [field, value] = term.split('!=')
      if (field !== 'status.phase' || value === undefined) throw new Error(`no field ${term}`)
      return status?.phase !== value
    })
}

function refusal(code: number, message: string): Answer {
  return [
    code,
    { apiVersion: 'v1', kind: 'Status', metadata: {}, status: 'Failure', message, code },
  ]
}
