import { readInput } from '../attest/input-file.ts'
import { UsageError } from '../usage-error.ts'

/** What stands for standard input in place of a path. */
export const STDIN = '-'

/**
 * Reads what a person named: a file, or with `-` standard input. Secrets come this way, and never as
 * arguments.
 * @param most - Bytes
 * @throws UsageError when there is nothing, or more than `most`
 */
export async function readSmall(path: string, most: number): Promise<Uint8Array> {
  const bytes = path === STDIN ? await readStdin(most) : await readInput(path)
  const named = path === STDIN ? 'standard input' : path
  if (bytes.length === 0) throw new UsageError(`${named} is empty`, 'look at what is given')
  if (bytes.length <= most) return bytes
  throw new UsageError(
    `${named}: wanted at most ${most} bytes, saw ${path === STDIN ? 'more' : bytes.length}`,
    'for more than that: cloister encrypt, or a data key (cloister key data-key)',
  )
}

async function readStdin(most: number): Promise<Uint8Array> {
  const pieces: Buffer[] = []
  let length = 0
  for await (const piece of process.stdin) {
    pieces.push(Buffer.from(piece))
    length += piece.length
    if (length > most) break
  }
  return new Uint8Array(Buffer.concat(pieces))
}
