import { connect, type ServerOpts, type Socket } from 'node:net'
import { joinPeers } from '../instance/join-peers.ts'
import {
  type LoopbackRelay,
  openLoopbackRelay,
  openRelaySocket,
  type Relay,
} from './relay-socket.ts'

type HalfOpen = Pick<ServerOpts, 'allowHalfOpen'>

/**
 * Passes bytes between a Unix socket and a key service, both ways, and reads none of them: TLS ends
 * inside the instance.
 * @param path - Where the socket is made.
 * @param url - `https://host:port` of the key service.
 * @param mode - Permissions of the socket.
 * @param how - `allowHalfOpen` where an end that says no more may still be answered.
 */
export async function openRelay(
  path: string,
  url: string,
  mode: number,
  how: HalfOpen = {},
): Promise<Relay> {
  return await openRelaySocket(path, { ...how, mode }, joinedTo(url, how))
}

/**
 * The same at a port of the loopback interface.
 * @param to - `https://host:port` of the key service, or the Unix socket that leads there.
 */
export async function openRelayPort(
  to: string | { readonly path: string },
  maxConnections: number,
  how: HalfOpen = {},
): Promise<LoopbackRelay> {
  return await openLoopbackRelay({ ...how, maxConnections }, joinedTo(to, how))
}

function joinedTo(where: string | { readonly path: string }, how: HalfOpen) {
  const to = typeof where === 'string' ? addressIn(where) : where
  return (inner: Socket, track: (outer: Socket) => void) => {
    const outer = connect({ ...to, ...how })
    track(outer)
    joinPeers(inner, outer)
  }
}

function addressIn(url: string) {
  const { hostname, port } = new URL(url)
  return { host: hostname.replace(/^\[|\]$/g, ''), port: Number(port || 443) }
}
