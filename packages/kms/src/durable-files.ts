import { randomBytes } from 'node:crypto'
import { open, rename } from 'node:fs/promises'
import { dirname, join } from 'node:path'

/** Makes a new file, which is on disk when this resolves; its name is so after {@link syncPath} of its folder. */
export async function writeNew(
  path: string,
  content: string | Uint8Array,
  mode = 0o600,
): Promise<void> {
  const file = await open(path, 'wx', mode)
  try {
    await file.writeFile(content)
    await file.sync()
  } finally {
    await file.close()
  }
}

/** Has a file, or the names in a folder, on disk. */
export async function syncPath(path: string): Promise<void> {
  const handle = await open(path, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Puts a file in the place of the one that is there, if any: whole or not at all, and there after a crash. */
export async function replaceFile(path: string, content: string, mode = 0o600): Promise<void> {
  const temporary = join(dirname(path), `.${randomBytes(6).toString('hex')}.tmp`)
  await writeNew(temporary, content, mode)
  await rename(temporary, path)
  await syncPath(dirname(path))
}
