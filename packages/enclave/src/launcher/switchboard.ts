import { connect, type Socket } from 'node:net'
import { joinPeers } from '../instance/join-peers.ts'
import { MAX_NAME, nameOf, type Place } from '../instance/together.ts'
import { readLine } from './read-line.ts'
import { openRelaySocket, type Relay } from './relay-socket.ts'

/** Most connections of one instance to the others; each is two descriptors of the launcher. */
const MAX_CONNECTIONS = 1024

/** Passes the bytes of two connections on to each other. */
export type Wire = (from: Socket, to: Socket) => void

/** How an instance is reached. */
interface Line {
  /** Where the launcher's socket for this instance is made. */
  readonly socket: string
  /** Permissions of the socket. */
  readonly mode: number
  /** Where the instance itself listens. */
  readonly inbound: string
}

/**
 * Connects the instances of a job with one another by their names, and reads nothing of what they
 * say: TLS ends inside each.
 */
export class Switchboard {
  readonly #inbound = new Map<string, string>()
  readonly #wire: Wire

  constructor(wire: Wire = joinPeers) {
    this.#wire = wire
  }

  /** Lets an instance call the others, and the others it, until what is given is closed. */
  async join(place: Place, { socket, mode, inbound }: Line): Promise<Relay> {
    const name = nameOf(place)
    this.#inbound.set(name, inbound)
    const options = { mode, maxConnections: MAX_CONNECTIONS, allowHalfOpen: true }
    const relay = await openRelaySocket(socket, options, (inner, track) => {
      inner.on('error', () => inner.destroy())
      readLine(inner, MAX_NAME, line => {
        const path = line === undefined ? undefined : this.#inbound.get(line)
        if (path === undefined) {
          inner.destroy()
          return
        }
        const outer = connect({ path, allowHalfOpen: true })
        track(outer)
        outer.on('error', () => inner.destroy())
        // Whoever goes without a word takes the other with it.
        inner.once('close', () => outer.destroySoon())
        outer.once('close', () => inner.destroySoon())
        this.#wire(inner, outer)
      })
    })
    return {
      close: () => {
        this.#inbound.delete(name)
        relay.close()
      },
    }
  }
}
