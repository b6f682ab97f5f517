import { mkdir, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { UsageError } from '../usage-error.ts'

/**
 * Makes a folder, and those above it, where they are not there. Node's own `recursive` never ends
 * where a folder takes no others and says no more than that they are not there, as `/proc` does: a
 * person's folder is made here before it is given to whoever would make it so.
 * @param mode - Of each folder that is made
 * @throws UsageError for what never can be a folder; the system's error where it is forbidden
 */
export async function makeFolder(folder: string, mode = 0o777): Promise<void> {
  try {
    await mkdir(folder, { mode })
  } catch (error) {
    if (await isFolder(folder)) return
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error
    const above = dirname(folder)
    if (above === folder || (await isFolder(above))) {
      const message = `${folder}: wanted a folder that can be written, saw ${above}, which takes none`
      throw new UsageError(message, 'give a path elsewhere', { cause: error })
    }
    await makeFolder(above, mode)
    await makeFolder(folder, mode)
  }
}

const isFolder = (path: string): Promise<boolean> =>
  stat(path).then(
    found => found.isDirectory(),
    () => false,
  )
