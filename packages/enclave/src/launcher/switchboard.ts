import { connect, type Socket } from 'node:net'
import { joinPeers } from '../instance/join-peers.ts'
import { MAX_NAME, nameOf, type Place } from '../instance/together.ts'
import { readLine } from './read-line.ts'
import { openRelaySocket, type Relay } from './relay-socket.ts'

/** Most connections of one instance to the others; each is two descriptors of the launcher. */
const MAX_CONNECTIONS = 1024

/** Passes the bytes of two connections on to each other. */
export type Wire = (from: Socket, to: Socket) => void

/** Connects to an instance that another host has; undefined where there is none of that name. */
export type Reach = (name: string) => Promise<Socket | undefined>

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
  readonly #reach: Reach | undefined

  /** @param reach - Where other hosts have instances of the job. */
  constructor(wire: Wire = joinPeers, reach?: Reach) {
    this.#wire = wire
    this.#reach = reach
  }

  /** Lets an instance call the others, and the others it, until what is given is closed. */
  async admit(place: Place, { socket, mode, inbound }: Line): Promise<Relay> {
    const name = nameOf(place)
    this.#inbound.set(name, inbound)
    const options = { mode, maxConnections: MAX_CONNECTIONS, allowHalfOpen: true }
    const relay = await openRelaySocket(socket, options, (inner, track) => {
      inner.on('error', () => inner.destroy())
      readLine(inner, MAX_NAME, line => {
        const outer = line === undefined ? undefined : this.#here(line)
        if (outer !== undefined) {
          track(outer)
          this.#connect(inner, outer)
        } else if (line === undefined || this.#reach === undefined) inner.destroy()
        else this.join(inner, this.#reach(line))
      })
    })
    return {
      close: () => {
        this.#inbound.delete(name)
        relay.close()
      },
    }
  }

  /** Leads a caller of another host to an instance that is here. */
  arrive(name: string, caller: Socket): void {
    const outer = this.#here(name)
    if (outer === undefined) caller.destroy()
    else this.#connect(caller, outer)
  }

  /** Joins a caller with what is being connected to; ends it where that comes to nothing. */
  join(caller: Socket, called: Promise<Socket | undefined>): void {
    called.then(
      outer => {
        if (outer === undefined) caller.destroy()
        else if (caller.destroyed) outer.destroy()
        else this.#connect(caller, outer)
      },
      () => caller.destroy(),
    )
  }

  #here(name: string): Socket | undefined {
    const path = this.#inbound.get(name)
    return path === undefined ? undefined : connect({ path, allowHalfOpen: true })
  }

  #connect(inner: Socket, outer: Socket): void {
    outer.on('error', () => inner.destroy())
    // Whoever goes without a word takes the other with it.
    inner.once('close', () => outer.destroySoon())
    outer.once('close', () => inner.destroySoon())
    this.#wire(inner, outer)
  }
}
