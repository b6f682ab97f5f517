import { connect, type Socket } from 'node:net'
import type { Connection } from '../definition/network.ts'
import { destinationOf, MAX_DESTINATION } from '../instance/destination.ts'
import { joinSockets } from '../instance/join-sockets.ts'
import { openRelaySocket, type Relay } from './relay-socket.ts'

const NEW_LINE = 0x0a

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
    readLine(inner, line => {
      const destination = line === undefined ? undefined : destinationOf(line, allowed)
      if (destination === undefined) {
        inner.destroy()
        return
      }
      const outer = connect({ ...destination, allowHalfOpen: true })
      track(outer)
      joinSockets(inner, outer)
    })
  })
}

/** Takes the first line off a connection; undefined when there is none that could be meant. */
function readLine(socket: Socket, onLine: (line: string | undefined) => void): void {
  let begun = Buffer.alloc(0)
  const finish = (line: string | undefined, rest: Uint8Array = Buffer.alloc(0)) => {
    socket.off('data', take)
    socket.off('end', none)
    socket.pause()
    // Paused, so that nobody is given it yet.
    if (rest.length > 0) socket.unshift(rest)
    onLine(line)
  }
  const none = () => finish(undefined)
  const take = (chunk: Buffer) => {
    begun = Buffer.concat([begun, chunk])
    const end = begun.subarray(0, MAX_DESTINATION).indexOf(NEW_LINE)
    if (end !== -1) finish(begun.toString('latin1', 0, end), begun.subarray(end + 1))
    else if (begun.length >= MAX_DESTINATION) none()
  }
  socket.on('data', take)
  socket.once('end', none)
}
