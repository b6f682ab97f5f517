import { randomBytes } from 'node:crypto'
import { open, rename, rm } from 'node:fs/promises'
import { requireAbsent } from './require-absent.ts'

/**
 * Writes a file of mode 0600, whole or not at all; refuses to replace one.
 * @returns How many bytes it has
 * @throws UsageError
 */
export async function writeWhole(
  file: string,
  pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<number> {
  await requireAbsent(file)
  const temporary = `${file}.${randomBytes(6).toString('hex')}.tmp`
  const handle = await open(temporary, 'wx', 0o600)
  let bytes = 0
  try {
    for await (const piece of pieces) {
      await handle.write(piece)
      bytes += piece.length
    }
    await handle.sync()
    await handle.close()
    await rename(temporary, file)
  } catch (error) {
    await handle.close().catch(() => undefined)
    await rm(temporary, { force: true })
    throw error
  }
  return bytes
}
