import { Agent, type Dispatcher } from 'undici'
import { AttestedTlsError } from './errors.ts'
import { type AttestedConnectionOptions, connectAttested } from './tls/connect.ts'

/**
 * A dispatcher for `fetch` and undici. Requests go over connections alone whose other side was
 * appraised as trusted, each connection once, when it is made; a connection is closed when what it
 * was appraised with has ended. An origin that is not `https:` is refused.
 */
export function attestedDispatcher(options: AttestedConnectionOptions): Dispatcher {
  return new Agent({
    connect: ({ protocol, hostname, port }, callback) => {
      connectTo(protocol, hostname, port, options).then(
        ({ socket }) => callback(null, socket),
        (error: unknown) => callback(asError(error), null),
      )
    },
  })
}

async function connectTo(
  protocol: string,
  hostname: string,
  port: string,
  options: AttestedConnectionOptions,
) {
  if (protocol !== 'https:') {
    throw new AttestedTlsError('TLS', `wanted an origin of https:, saw ${protocol}`)
  }
  const host = hostname.replace(/^\[|\]$/g, '')
  return connectAttested({ ...options, host, port: Number(port === '' ? 443 : port) })
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error))
}
