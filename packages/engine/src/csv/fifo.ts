import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import { open, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { EngineError } from '../errors.ts'

/** In an enclave image there is no search path. */
const MKFIFO = '/usr/bin/mkfifo'

/** Makes pipes with names that nobody can guess, mode 0600, in a private folder. */
export async function makeFifos(folder: string, count: number): Promise<readonly string[]> {
  const paths = Array.from({ length: count }, () => join(folder, randomBytes(16).toString('hex')))
  try {
    await promisify(execFile)(MKFIFO, ['-m', '600', ...paths], { env: {} })
  } catch (cause) {
    throw new EngineError('INPUT', `${MKFIFO} could not make a pipe in the scratch folder`, {
      cause,
    })
  }
  return paths
}

/** Lets a writer go on that waits for a reader which will not come. */
export async function releaseWriter(path: string): Promise<void> {
  try {
    const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
    await handle.close()
    await unlink(path).catch(() => undefined)
  } catch {
    // The name is gone: the pipe was opened by the reader it was made for.
  }
}

/** Lets a reader go on that waits for a writer which will not come, and takes the name away. */
export async function releaseReader(path: string): Promise<void> {
  try {
    const handle = await open(path, constants.O_WRONLY | constants.O_NONBLOCK)
    await handle.close()
  } catch {
    // Nobody waits.
  }
  await unlink(path).catch(() => undefined)
}
