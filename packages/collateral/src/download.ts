import http from 'node:http'
import https from 'node:https'
import { UpstreamError } from './errors.ts'

/** What to ask a service. */
export interface ExchangeRequest {
  readonly url: string
  /** GET unless told, or POST where there is something to send. */
  readonly method?: 'GET' | 'POST' | 'PUT'
  /** Sent as JSON. */
  readonly json?: string
  readonly headers?: Readonly<Record<string, string>>
  /** PEM: what the TLS certificate has to lead up to, in place of the system's roots. */
  readonly ca?: string | undefined
  /** Until the answer must have come in whole. */
  readonly timeoutMs: number
  readonly maxBytes: number
}

/** What a service answered. */
export interface Exchange extends Download {
  readonly status: number
}

/** What was downloaded. */
export interface Download {
  readonly body: Uint8Array
  /** A header, by its name in lower case. */
  header(name: string): string | undefined
}

const AGENTS = {
  'http:': new http.Agent({ keepAlive: true, maxSockets: 16, maxFreeSockets: 4 }),
  'https:': new https.Agent({ keepAlive: true, maxSockets: 16, maxFreeSockets: 4 }),
}

/**
 * Downloads a document: no redirects, within a time, and no more than a size.
 * @throws UpstreamError
 */
export async function download(request: ExchangeRequest): Promise<Download> {
  const { status, ...found } = await exchange(request, status => status === 200)
  if (status === 200) return found
  throw new UpstreamError('STATUS', `${toldOf(request)} answered ${status}`, { status })
}

/**
 * Asks a service something. Redirects are answers like any other.
 * @param wantsBody - Of which statuses the body is read.
 * @throws UpstreamError UNREACHABLE, TOO_LARGE
 */
export async function exchange(
  request: ExchangeRequest,
  wantsBody: (status: number) => boolean = () => true,
): Promise<Exchange> {
  const what = toldOf(request)
  const response = await responseTo(request, what)
  const { statusCode: status = 0 } = response
  const header = (name: string) => {
    const value = response.headers[name]
    return Array.isArray(value) ? value[0] : value
  }
  if (!wantsBody(status)) {
    response.destroy()
    return { status, header, body: new Uint8Array() }
  }
  return { status, header, body: await bodyOf(what, response, request.maxBytes) }
}

/** Told without the query, in which platforms are named. */
function toldOf({ url }: ExchangeRequest): string {
  const { origin, pathname } = new URL(url)
  return origin + pathname
}

function responseTo(request: ExchangeRequest, what: string): Promise<http.IncomingMessage> {
  const { url, json, ca, timeoutMs, method = json === undefined ? 'GET' : 'POST' } = request
  const secure = url.startsWith('https:')
  return new Promise((resolve, reject) => {
    const options: https.RequestOptions = {
      method,
      headers: {
        ...(json === undefined ? {} : { 'content-type': 'application/json' }),
        ...request.headers,
      },
      agent: AGENTS[secure ? 'https:' : 'http:'],
      // Ends the body too, once it comes.
      signal: AbortSignal.timeout(timeoutMs),
      ...(ca === undefined ? {} : { ca }),
    }
    const sent = (secure ? https : http).request(url, options, resolve)
    sent.once('error', cause => {
      reject(new UpstreamError('UNREACHABLE', `${what} was not reached${why(cause)}`, { cause }))
    })
    sent.end(json)
  })
}

async function bodyOf(
  what: string,
  response: http.IncomingMessage,
  maxBytes: number,
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let size = 0
  try {
    for await (const chunk of response) {
      size += chunk.length
      if (size > maxBytes) break
      chunks.push(chunk)
    }
  } catch (cause) {
    throw new UpstreamError('UNREACHABLE', `${what} broke off`, { cause })
  }
  if (size > maxBytes) {
    throw new UpstreamError('TOO_LARGE', `${what} sent more than ${maxBytes} bytes`)
  }
  return new Uint8Array(Buffer.concat(chunks))
}

/** What a person can act on: a name that is not known, a certificate that is not trusted. */
function why(cause: Error): string {
  const code = 'code' in cause ? String(cause.code) : ''
  return code === '' ? '' : ` (${code})`
}
