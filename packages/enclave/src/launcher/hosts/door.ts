import { type AddressInfo, createServer, type Socket } from 'node:net'
import { createServer as createTlsServer, type Server as TlsServer } from 'node:tls'
import { HANDSHAKE_MS, TLS_OPTIONS } from '../../init/together/ciphers.ts'
import { readLine } from '../read-line.ts'
import { listening, type Relay } from '../relay-socket.ts'
import type { HostAddress } from './address.ts'
import { type Greeting, MAX_GREETING, parseGreeting } from './greeting.ts'
import { type Called, type HostsSecret, hostIdentity } from './secret.ts'

/** Most callers at a time of whom is not known yet what they want. */
const MAX_UNGREETED = 64

/** Most connections in all: descriptors are this process's, and of use to it elsewhere. */
const MAX_CONNECTIONS = 4096

/** How a launcher listens for those of other hosts. */
export interface DoorOptions {
  readonly listen: HostAddress
  /** Whose host this is. */
  readonly called: Called
  readonly secret?: HostsSecret | undefined
  readonly onCaller: (greeting: Greeting, socket: Socket) => void
}

/** Where a launcher listens. */
export interface Door extends Relay {
  readonly address: HostAddress
}

/**
 * Listens for launchers of other hosts. Callers have ten seconds to say what they want, and 64 of them
 * at a time: of more, the one that has waited longest goes, so that any number of silent ones keeps
 * out nobody who speaks at once.
 * @throws Error of the system's, when nothing can listen there
 */
export async function openDoor({ listen, called, secret, onCaller }: DoorOptions): Promise<Door> {
  const sockets = new Set<Socket>()
  const ungreeted = new Ungreeted()
  const greet = (socket: Socket) => {
    const caller = callerOf(socket)
    socket.on('error', () => socket.destroy())
    readLine(socket, MAX_GREETING, line => {
      const greeting = line === undefined ? undefined : parseGreeting(line)
      if (!ungreeted.take(caller) || greeting === undefined) socket.destroy()
      else onCaller(greeting, socket)
    })
  }
  const tls = secret === undefined ? undefined : tlsServer(called, secret, greet)
  const server = createServer({ allowHalfOpen: true, noDelay: true }, raw => {
    sockets.add(raw)
    raw.on('error', () => raw.destroy())
    raw.once('close', () => sockets.delete(raw))
    ungreeted.add(callerOf(raw), raw)
    if (tls === undefined) greet(raw)
    else tls.emit('connection', raw)
  })
  server.maxConnections = MAX_CONNECTIONS
  server.listen(listen)
  await listening(server)
  const { port } = server.address() as AddressInfo
  return {
    address: { host: listen.host, port },
    close() {
      server.close()
      for (const socket of sockets) socket.destroy()
    },
  }
}

/** Which connection a socket is of: TLS is another socket than what it runs over. */
function callerOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`
}

function tlsServer(
  called: Called,
  secret: HostsSecret,
  onSecured: (socket: Socket) => void,
): TlsServer {
  const server = createTlsServer({
    ...TLS_OPTIONS,
    handshakeTimeout: HANDSHAKE_MS,
    pskCallback: (_socket, identity) =>
      identity === hostIdentity(called) ? secret.keyFor(called) : null,
  })
  server.on('secureConnection', onSecured)
  server.on('tlsClientError', (_error, socket) => socket.destroy())
  return server
}

/** Callers who have not said what they want, by when they came. */
class Ungreeted {
  readonly #waiting = new Map<string, { readonly raw: Socket; readonly timer: NodeJS.Timeout }>()

  add(caller: string, raw: Socket): void {
    for (const [longest, { raw: its }] of this.#waiting) {
      if (this.#waiting.size < MAX_UNGREETED) break
      this.take(longest)
      its.destroy()
    }
    const timer = setTimeout(() => raw.destroy(), HANDSHAKE_MS)
    this.#waiting.set(caller, { raw, timer })
    raw.once('close', () => {
      if (this.#waiting.get(caller)?.raw === raw) this.take(caller)
    })
  }

  /** Whether this one was still waited for; from now on it is not. */
  take(caller: string): boolean {
    clearTimeout(this.#waiting.get(caller)?.timer)
    return this.#waiting.delete(caller)
  }
}
