import type { Socket } from 'node:net'
import type { HostAddress } from './address.ts'

/** Most connections between an instance of another host and those that are here. */
const MAX_CONNECTIONS = 256

/** An instance that another host has. */
export interface Elsewhere {
  /** What its connections bear, 32 digits. */
  readonly ticket: string
  /** Where its host listens, where it does. */
  readonly address?: HostAddress | undefined
}

/** Which instances other hosts have, and what is connected to them. */
export class Directory {
  readonly #instances = new Map<string, Elsewhere>()
  readonly #names = new Map<string, string>()
  readonly #connections = new Map<string, Set<Socket>>()

  get(name: string): Elsewhere | undefined {
    return this.#instances.get(name)
  }

  add(name: string, instance: Elsewhere): void {
    this.remove(name)
    this.#instances.set(name, instance)
    this.#names.set(instance.ticket, name)
    this.#connections.set(name, new Set())
  }

  /** Forgets one that is lost, and ends what is connected to it. */
  remove(name: string): void {
    const ticket = this.#instances.get(name)?.ticket
    if (ticket !== undefined) this.#names.delete(ticket)
    this.#instances.delete(name)
    for (const socket of this.#connections.get(name) ?? []) socket.destroy()
    this.#connections.delete(name)
  }

  /** Whose ticket it is. */
  bearerOf(ticket: string): string | undefined {
    return this.#names.get(ticket)
  }

  /** Keeps a connection until the instance is lost; ends it where there is none, or too many. */
  keep(name: string, socket: Socket): boolean {
    const connections = this.#connections.get(name)
    if (connections === undefined || connections.size >= MAX_CONNECTIONS || socket.destroyed) {
      socket.destroy()
      return false
    }
    connections.add(socket)
    socket.once('close', () => connections.delete(socket))
    return true
  }
}
