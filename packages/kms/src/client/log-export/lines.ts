import { AuditError } from '../../server/audit/errors.ts'
import { MAX_LINE_BYTES } from './format.ts'

const NEWLINE = 0x0a

/**
 * Cuts a stream into lines, those of each chunk together; a line's bytes are valid until the next
 * chunk is asked for.
 * @throws AuditError EXPORT where a line is too long or the last has no newline
 */
export async function* linesOf(source: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer[]> {
  let rest: Buffer = Buffer.alloc(0)
  for await (const chunk of source) {
    const own = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
    const bytes = rest.length === 0 ? own : Buffer.concat([rest, own])
    const lines: Buffer[] = []
    let start = 0
    for (let end = bytes.indexOf(NEWLINE); end !== -1; end = bytes.indexOf(NEWLINE, start)) {
      lines.push(bytes.subarray(start, end))
      start = end + 1
    }
    yield lines
    // A copy: the chunk's memory is its owner's.
    rest = Buffer.from(bytes.subarray(start))
    if (rest.length > MAX_LINE_BYTES) {
      throw new AuditError('EXPORT', `a line is longer than ${MAX_LINE_BYTES} bytes`)
    }
  }
  if (rest.length > 0) throw new AuditError('EXPORT', 'the last line is cut short')
}
