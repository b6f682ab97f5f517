import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { UsageError } from '../usage-error.ts'

/** Most that a file of evidence, collateral or policy may measure: 16 MiB. */
const MAX_INPUT_BYTES = 16 << 20

/**
 * Reads a file that a person named. A pipe is refused and not waited for; what is too large is
 * refused before it is read.
 * @param most - Bytes
 * @throws UsageError
 */
export async function readInput(path: string, most = MAX_INPUT_BYTES): Promise<Uint8Array> {
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    const stats = await file.stat()
    if (!stats.isFile()) {
      const seen = stats.isDirectory() ? 'a folder' : 'a pipe or a device'
      throw new UsageError(`${path}: wanted a file, saw ${seen}`, 'give the path of a file')
    }
    if (stats.size > most) {
      throw new UsageError(
        `${path}: ${stats.size} bytes, wanted at most ${most}`,
        'look at the path: nothing that is read here is as large',
      )
    }
    return new Uint8Array(await file.readFile())
  } finally {
    await file.close()
  }
}

/** Reads a file of text, as {@link readInput} does, without the byte order mark that some tools write. */
export async function readInputText(path: string, most?: number): Promise<string> {
  return new TextDecoder().decode(await readInput(path, most))
}
