import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'

/**
 * Passes the bytes of two connections on to each other at once; where one breaks off, so does the other.
 */
export function joinPeers(one: Duplex, other: Duplex): void {
  for (const [from, to] of [
    [one, other],
    [other, one],
  ] as const) {
    // Else what comes in small pieces, as calls of Spark's do, waits for the answer to the piece before.
    if (to instanceof Socket) to.setNoDelay(true)
    from.on('error', () => to.destroy())
    from.once('close', () => {
      if (!from.readableEnded) to.destroy()
    })
    from.pipe(to)
  }
}
