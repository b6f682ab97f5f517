import { connect } from 'node:net'
import type { Connection } from '../definition/network.ts'
import { destinationOf, MAX_DESTINATION } from '../instance/destination.ts'
import { joinPeers } from '../instance/join-peers.ts'
import { readLine } from './read-line.ts'
import { openRelaySocket, type Relay } from './relay-socket.ts'

/** Most connections at a time; each is two descriptors of the launcher. */
export const MAX_CONNECTIONS = 512

/**
 * Connects an instance to the hosts and ports that its image names, and to no others: the first line
 * of each connection says which.
 * @param path - Where the socket is made.
 * @param allowed - What the measured image names.
 * @param mode - Permissions of the socket.
 */
export async function openNetworkRelay(
  path: string,
  allowed: readonly Connection[],
  mode: number,
): Promise<Relay> {
  const options = { allowHalfOpen: true, maxConnections: MAX_CONNECTIONS, mode }
  return await openRelaySocket(path, options, (inner, track) => {
    inner.once('error', () => inner.destroy())
    readLine(inner, MAX_DESTINATION, line => {
      const destination = line === undefined ? undefined : destinationOf(line, allowed)
      if (destination === undefined) {
        inner.destroy()
        return
      }
      const outer = connect({ ...destination, allowHalfOpen: true })
      track(outer)
      joinPeers(inner, outer)
    })
  })
}
