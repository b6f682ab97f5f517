import type { Socket } from 'node:net'

const NEW_LINE = 0x0a

/**
 * Takes the first line off a connection; undefined when there is none that could be meant.
 * @param most - Bytes of the longest line, with its end.
 */
export function readLine(
  socket: Socket,
  most: number,
  onLine: (line: string | undefined) => void,
): void {
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
    const end = begun.subarray(0, most).indexOf(NEW_LINE)
    if (end !== -1) finish(begun.toString('latin1', 0, end), begun.subarray(end + 1))
    else if (begun.length >= most) none()
  }
  socket.on('data', take)
  socket.once('end', none)
}
