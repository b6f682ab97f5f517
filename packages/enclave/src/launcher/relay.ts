import { once } from 'node:events'
import { chmod } from 'node:fs/promises'
import { connect, createServer, type Socket } from 'node:net'
import { joinSockets } from '../instance/join-sockets.ts'

/** A socket of the file system that leads to a host and port. */
export interface Relay {
  /** Ends it and every connection through it. */
  close(): void
}

/**
 * Passes bytes between a Unix socket and a key service, both ways, and reads none of them: TLS ends
 * inside the instance.
 * @param path - Where the socket is made.
 * @param url - `https://host:port` of the key service.
 * @param mode - Permissions of the socket.
 */
export async function openRelay(path: string, url: string, mode: number): Promise<Relay> {
  const { hostname, port } = new URL(url)
  const sockets = new Set<Socket>()
  const track = (socket: Socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  }
  const server = createServer(inner => {
    const outer = connect({ host: hostname.replace(/^\[|\]$/g, ''), port: Number(port || 443) })
    track(inner)
    track(outer)
    joinSockets(inner, outer)
  })
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
