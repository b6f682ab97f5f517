import type { Duplex } from 'node:stream'

/** Passes the bytes of two connections on to each other; where one breaks off, so does the other. */
export function joinPeers(one: Duplex, other: Duplex): void {
  for (const [from, to] of [
    [one, other],
    [other, one],
  ] as const) {
    from.on('error', () => to.destroy())
    from.once('close', () => {
      if (!from.readableEnded) to.destroy()
    })
    from.pipe(to)
  }
}
