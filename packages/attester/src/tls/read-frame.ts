import type { Readable } from 'node:stream'
import { AttestedTlsError } from '../errors.ts'
import { FRAME_HEAD_BYTES, parseFrameHead } from './frames.ts'

/**
 * Reads one frame's payload and not a byte more: what follows is the application's.
 * @param maxBytes - Longest payload; a longer one is refused before any of it is read.
 * @param deadline - Ends the wait.
 * @throws AttestedTlsError PROTOCOL, TIMEOUT
 */
export async function readFrame(
  stream: Readable,
  maxBytes: number,
  deadline: AbortSignal,
): Promise<Uint8Array> {
  const head = await readExactly(stream, FRAME_HEAD_BYTES, deadline)
  return readExactly(stream, parseFrameHead(head, maxBytes), deadline)
}

/**
 * One listener for all of the wait: to add another while a part is there already would have it
 * called at once, again and again, and nothing else would ever run.
 */
function readExactly(stream: Readable, bytes: number, deadline: AbortSignal): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const late = () => settle(new AttestedTlsError('TIMEOUT', 'no whole frame in time'))
    const settle = (outcome: Uint8Array | AttestedTlsError) => {
      stream.off('readable', take).off('end', take).off('close', take)
      deadline.removeEventListener('abort', late)
      if (outcome instanceof AttestedTlsError) reject(outcome)
      else resolve(outcome)
    }
    const take = () => {
      const chunk: Buffer | null = stream.read(bytes)
      if (chunk?.length === bytes) settle(chunk)
      else if (chunk !== null || stream.readableEnded || stream.destroyed) settle(cutShort())
    }
    stream.on('readable', take).on('end', take).on('close', take)
    deadline.addEventListener('abort', late)
    if (deadline.aborted) late()
    else take()
  })
}

function cutShort(): AttestedTlsError {
  return new AttestedTlsError('PROTOCOL', 'the connection ended within a frame')
}
