import type { Socket } from 'node:net'

/** Passes the bytes of two connections on to each other, each way to its end. */
export function joinSockets(one: Socket, other: Socket): void {
  for (const [from, to] of [
    [one, other],
    [other, one],
  ] as const) {
    from.once('error', () => to.destroy())
    from.pipe(to)
  }
}
