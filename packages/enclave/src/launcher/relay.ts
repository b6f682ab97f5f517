import { connect, type Socket } from 'node:net'
import { joinPeers } from '../instance/join-peers.ts'
import {
  type LoopbackRelay,
  openLoopbackRelay,
  openRelaySocket,
  type Relay,
} from './relay-socket.ts'

/**
 * Passes bytes between a Unix socket and a key service, both ways, and reads none of them: TLS ends
 * inside the instance.
 * @param path - Where the socket is made.
 * @param url - `https://host:port` of the key service.
 * @param mode - Permissions of the socket.
 */
export async function openRelay(path: string, url: string, mode: number): Promise<Relay> {
  return await openRelaySocket(path, { mode }, joinedTo(url))
}

/**
 * The same at a port of the loopback interface.
 * @param to - `https://host:port` of the key service, or the Unix socket that leads there.
 */
export async function openRelayPort(
  to: string | { readonly path: string },
  maxConnections: number,
): Promise<LoopbackRelay> {
  return await openLoopbackRelay({ maxConnections }, joinedTo(to))
}

function joinedTo(where: string | { readonly path: string }) {
  const to = typeof where === 'string' ? addressIn(where) : where
  return (inner: Socket, track: (outer: Socket) => void) => {
    const outer = connect(to)
    track(outer)
    joinPeers(inner, outer)
  }
}

function addressIn(url: string) {
  const { hostname, port } = new URL(url)
  return { host: hostname.replace(/^\[|\]$/g, ''), port: Number(port || 443) }
}
