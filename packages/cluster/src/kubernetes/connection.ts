import { type ClientRequest, type IncomingMessage, request as requestHttp } from 'node:http'
import { type RequestOptions, request } from 'node:https'
import { ClusterError } from '../errors.ts'
import { type ClusterOptions, clusterOf } from './kubeconfig.ts'
import { linesOf } from './lines.ts'
import { messageIn } from './status.ts'

/** What is put into a question's address. */
export type Query = Readonly<Record<string, string | number | boolean | undefined>>

/** A change or a question that is answered at once. */
export interface Question {
  readonly method: 'GET' | 'POST' | 'PATCH' | 'DELETE'
  readonly path: string
  readonly query?: Query
  readonly body?: object
}

/** A cluster's API, for objects as they are: what is sent is what was rendered. */
export interface Connection {
  /** The context's namespace. */
  readonly namespace: string
  /** Asks, and reads the answer as JSON. @throws ClusterError */
  ask(question: Question): Promise<unknown>
  /**
   * Reads an answer that goes on, line by line; ends where it does, or when nothing has come for
   * `idleMs`.
   * @throws ClusterError
   */
  lines(path: string, query: Query, options: LineOptions): AsyncGenerator<string>
}

/** How long lines are waited for. */
export interface LineOptions {
  readonly signal: AbortSignal
  readonly idleMs: number
}

/** The longest answer that is read; lists come in pages. */
const MAX_BODY = 1 << 26

/**
 * Connects to a cluster as its kubeconfig says.
 * @throws ClusterError KUBECONFIG
 */
export function connect(options: ClusterOptions = {}): Connection {
  const { config, cluster } = clusterOf(options)
  const timeoutMs = options.timeoutMs ?? 10_000

  async function opened(question: Question, signal: AbortSignal): Promise<IncomingMessage> {
    const url = new URL(cluster.server.replace(/\/$/, '') + question.path)
    for (const [name, value] of Object.entries(question.query ?? {})) {
      if (value !== undefined) url.searchParams.set(name, String(value))
    }
    const body = question.body === undefined ? undefined : JSON.stringify(question.body)
    const settings: RequestOptions = { method: question.method, headers: headersOf(question, body) }
    await config.applyToHTTPSOptions(settings)
    const begin = url.protocol === 'https:' ? request : requestHttp
    return await new Promise((resolve, reject) => {
      const sent: ClientRequest = begin(url, { ...settings, signal })
      sent.once('response', resolve)
      sent.once('error', reject)
      sent.end(body)
    })
  }

  return {
    namespace: config.getContextObject(config.getCurrentContext())?.namespace ?? 'default',
    async ask(question) {
      const signal = AbortSignal.timeout(timeoutMs)
      try {
        const response = await opened(question, signal)
        const text = await textOf(response)
        requireGood(response.statusCode, text)
        return JSON.parse(text)
      } catch (error) {
        throw clusterErrorFrom(error)
      }
    },
    async *lines(path, query, { signal, idleMs }) {
      const silence = new Silence(timeoutMs)
      try {
        const either = AbortSignal.any([signal, silence.signal])
        const response = await opened({ method: 'GET', path, query }, either)
        if (response.statusCode !== 200) requireGood(response.statusCode, await textOf(response))
        silence.begin(idleMs)
        for await (const line of linesOf(response)) {
          silence.begin(idleMs)
          yield line
        }
      } catch (error) {
        // A stream that says nothing any more has ended, as far as anybody can tell.
        if (!signal.aborted && !silence.hasEnded) throw clusterErrorFrom(error)
      } finally {
        silence.end()
      }
    },
  }
}

/** Ends a stream on which nothing comes. */
class Silence {
  #timer: NodeJS.Timeout
  #isStream = false
  readonly #over = new AbortController()

  constructor(answerMs: number) {
    this.#timer = setTimeout(() => this.#over.abort(), answerMs)
  }

  get signal(): AbortSignal {
    return this.#over.signal
  }

  /** Whether it was a stream that fell silent, and not an answer that never came. */
  get hasEnded(): boolean {
    return this.#isStream && this.#over.signal.aborted
  }

  /** Something came. */
  begin(idleMs: number): void {
    this.#isStream = true
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#over.abort(), idleMs)
  }

  end(): void {
    clearTimeout(this.#timer)
    this.#over.abort()
  }
}

function headersOf({ method }: Question, body: string | undefined): Record<string, string> {
  const accept = { accept: 'application/json' }
  if (body === undefined) return accept
  const type = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json'
  // Without it Node gives the body of a DELETE no length.
  return { ...accept, 'content-type': type, 'content-length': String(Buffer.byteLength(body)) }
}

async function textOf(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > MAX_BODY) throw new ClusterError('ANSWER', `wanted at most ${MAX_BODY} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function requireGood(status = 0, text: string): void {
  if (status >= 200 && status < 300) return
  const said = messageIn(text)
  const message = `the cluster answered ${status}${said === undefined ? '' : `: ${said}`}`
  throw new ClusterError(codeOf(status), message)
}

/** @see https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md#http-status-codes */
function codeOf(status: number): ClusterError['code'] {
  switch (status) {
    case 401:
    case 403:
      return 'REFUSED'
    case 404:
      return 'ABSENT'
    case 409:
      return 'EXISTS'
    case 410:
      return 'GONE'
    case 400:
    case 422:
      return 'INVALID'
    case 429:
    case 500:
    case 503:
    case 504:
      return 'UNREACHABLE'
    default:
      return 'ANSWER'
  }
}

function clusterErrorFrom(cause: unknown): ClusterError {
  if (cause instanceof ClusterError) return cause
  if (cause instanceof SyntaxError) {
    return new ClusterError('ANSWER', 'what answers there is not Kubernetes', { cause })
  }
  return new ClusterError('UNREACHABLE', 'the cluster does not answer', {
    cause: cause instanceof Error ? cause : undefined,
  })
}
