import http from 'node:http'
import https from 'node:https'
import { UpstreamError } from './errors.ts'

/** What to download. */
export interface DownloadRequest {
  readonly url: string
  /** Sent by POST as JSON; without it the request is a GET. */
  readonly json?: string
  readonly headers?: Readonly<Record<string, string>>
  /** PEM: what the TLS certificate has to lead up to, in place of the system's roots. */
  readonly ca?: string | undefined
  /** Until the answer must have come in whole. */
  readonly timeoutMs: number
  readonly maxBytes: number
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
export async function download(request: DownloadRequest): Promise<Download> {
  // Told without the query, in which platforms are named.
  const what = new URL(request.url).origin + new URL(request.url).pathname
  const response = await responseTo(request, what)
  const { statusCode: status = 0 } = response
  if (status !== 200) {
    response.destroy()
    throw new UpstreamError('STATUS', `${what} answered ${status}`, { status })
  }
  const body = await bodyOf(what, response, request.maxBytes)
  return {
    body,
    header: name => {
      const value = response.headers[name]
      return Array.isArray(value) ? value[0] : value
    },
  }
}

function responseTo(request: DownloadRequest, what: string): Promise<http.IncomingMessage> {
  const { url, json, ca, timeoutMs } = request
  const secure = url.startsWith('https:')
  return new Promise((resolve, reject) => {
    const options: https.RequestOptions = {
      method: json === undefined ? 'GET' : 'POST',
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
