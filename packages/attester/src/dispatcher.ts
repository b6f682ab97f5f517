import type { Socket } from 'node:net'
import { Agent, type Dispatcher } from 'undici'
import type { PeerRequirements } from './appraise-peer.ts'
import { AttestedTlsError } from './errors.ts'
import { type ConnectAttestedOptions, connectAttested } from './tls/connect.ts'

/** Options of {@link attestedDispatcher}: those of each connection, but where it leads. */
export type AttestedDispatcherOptions = PeerRequirements &
  Pick<ConnectAttestedOptions, 'mode' | 'timeoutMs'>

/**
 * A dispatcher for `fetch` and undici. Requests go over connections alone whose other side was
 * appraised as trusted, each connection once, when it is made; a connection is closed when what it
 * was appraised with has ended. An origin that is not `https:` is refused.
 */
export function attestedDispatcher(options: AttestedDispatcherOptions): Dispatcher {
  return new Agent({
    connect: ({ protocol, hostname, port }, callback) => {
      connectTo(protocol, hostname, port, options).then(
        ({ socket, appraisal }) => {
          closeAt(socket, appraisal.goodUntil, options.now())
          callback(null, socket)
        },
        (error: unknown) => callback(asError(error), null),
      )
    },
  })
}

/** `setTimeout` takes no longer waits than 24.8 days. */
const MAX_TIMER_MS = 2 ** 31 - 1

/** A connection that is used for longer than its appraisal is good is made, and appraised, anew. */
function closeAt(socket: Socket, end: Date, now: Date): void {
  const left = Math.min(end.getTime() - now.getTime(), MAX_TIMER_MS)
  const timer = setTimeout(() => socket.destroy(), left).unref()
  socket.once('close', () => clearTimeout(timer))
}

async function connectTo(
  protocol: string,
  hostname: string,
  port: string,
  options: AttestedDispatcherOptions,
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
