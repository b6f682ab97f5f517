import { once } from 'node:events'
import { chmod } from 'node:fs/promises'
import { createServer, type ServerOpts, type Socket } from 'node:net'

/** A socket of the file system that leads out of an instance. */
export interface Relay {
  /** Ends it and every connection through it. */
  close(): void
}

/** How a relay's socket is made. */
export interface RelaySocketOptions extends Pick<ServerOpts, 'allowHalfOpen'> {
  /** Permissions of the socket. */
  readonly mode: number
  /** Most connections at a time; without it, any number. */
  readonly maxConnections?: number
}

/**
 * Makes a Unix socket and gives each connection to `onConnection`, which hands what it opens for it to
 * `track`: all of that ends with the relay.
 */
export async function openRelaySocket(
  path: string,
  { allowHalfOpen = false, maxConnections, mode }: RelaySocketOptions,
  onConnection: (inner: Socket, track: (outer: Socket) => void) => void,
): Promise<Relay> {
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
  server.listen(path)
  await once(server, 'listening')
  await chmod(path, mode)
  return {
    close() {
      server.close()
      for (const socket of sockets) socket.destroy()
    },
  }
}
