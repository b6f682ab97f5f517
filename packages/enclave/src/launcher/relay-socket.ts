import { once } from 'node:events'
import { chmod } from 'node:fs/promises'
import { type AddressInfo, createServer, type Server, type ServerOpts, type Socket } from 'node:net'

/** Longest path of a socket in Linux, unix(7). */
const MAX_PATH = 107

/** A socket that leads out of an instance. */
export interface Relay {
  /** Ends it and every connection through it. */
  close(): void
}

/** A relay that is reached by a port of the loopback interface. */
export interface LoopbackRelay extends Relay {
  readonly port: number
}

/** What a relay does with connections. */
interface RelayOptions extends Pick<ServerOpts, 'allowHalfOpen'> {
  /** Most connections at a time; without it, any number. */
  readonly maxConnections?: number
}

/** How a relay's socket of the file system is made. */
export interface RelaySocketOptions extends RelayOptions {
  /** Permissions of the socket. */
  readonly mode: number
}

/** Given each connection; hands what it opens for it to `track`. */
type OnConnection = (inner: Socket, track: (outer: Socket) => void) => void

/**
 * Makes a Unix socket and gives each connection to `onConnection`; all that it tracks ends with the
 * relay.
 */
export async function openRelaySocket(
  path: string,
  { mode, ...options }: RelaySocketOptions,
  onConnection: OnConnection,
): Promise<Relay> {
  const { server, relay } = relayServer(options, onConnection)
  requireShort(path)
  server.listen(path)
  await listening(server)
  await chmod(path, mode)
  return relay
}

/** A longer path would be cut, without a word. */
function requireShort(path: string): void {
  const length = Buffer.byteLength(path)
  if (length <= MAX_PATH) return
  throw new Error(`the path of a socket: wanted at most ${MAX_PATH} bytes, seen ${length}: ${path}`)
}

/**
 * Listens at a port of the loopback interface, for instances that no socket of the file system
 * reaches. Whoever runs on the machine reaches it too, so that connections are limited.
 */
export async function openLoopbackRelay(
  options: RelayOptions & Required<Pick<RelayOptions, 'maxConnections'>>,
  onConnection: OnConnection,
): Promise<LoopbackRelay> {
  const { server, relay } = relayServer(options, onConnection)
  server.listen(0, '127.0.0.1')
  await listening(server)
  const { port } = server.address() as AddressInfo
  return { ...relay, port }
}

/**
 * Waits until a server listens. From then on a connection that could not be taken, for want of memory
 * or descriptors, is no end of the others.
 * @throws Error of the system's, when nothing can listen there
 */
export async function listening(server: Server): Promise<void> {
  await once(server, 'listening')
  server.on('error', () => {})
}

function relayServer(
  { allowHalfOpen = false, maxConnections }: RelayOptions,
  onConnection: OnConnection,
) {
  const sockets = new Set<Socket>()
  const track = (socket: Socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  }
  const server = createServer({ allowHalfOpen }, inner => {
    track(inner)
    onConnection(inner, track)
  })
  if (maxConnections !== undefined) server.maxConnections = maxConnections
  const relay: Relay = {
    close() {
      server.close()
      for (const socket of sockets) socket.destroy()
    },
  }
  return { server, relay }
}
