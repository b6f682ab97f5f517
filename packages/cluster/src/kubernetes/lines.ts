import { StringDecoder } from 'node:string_decoder'

/** The longest line that is kept together. Objects in etcd have at most 1.5 MiB. */
const MAX_LINE = 1 << 22

/**
 * The lines of a stream, without their ends. What is longer than 4 MiB comes in pieces; a line
 * without an end at the stream's end comes too.
 */
export async function* linesOf(stream: AsyncIterable<Buffer>): AsyncGenerator<string> {
  const decoder = new StringDecoder('utf8')
  let rest = ''
  for await (const chunk of stream) {
    rest += decoder.write(chunk)
    const lines = rest.split('\n')
    rest = lines.pop() ?? ''
    yield* lines
    if (rest.length <= MAX_LINE) continue
    yield rest
    rest = ''
  }
  rest += decoder.end()
  if (rest !== '') yield rest
}
