import { randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import { type FileHandle, link, open, unlink } from 'node:fs/promises'
import { dirname } from 'node:path'
import { syncPath, writeNew } from '../../durable-files.ts'
import { RootKeyError } from './errors.ts'

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}

async function readChecked(file: FileHandle, path: string, maxBytes: number): Promise<Uint8Array> {
  const stat = await file.stat()
  if (!stat.isFile()) throw new RootKeyError('MODE', `${path} is not a plain file`)
  if ((stat.mode & 0o077) !== 0) {
    const seen = (stat.mode & 0o777).toString(8).padStart(4, '0')
    throw new RootKeyError('MODE', `${path}: wanted mode 0600, seen ${seen}`)
  }
  const me = process.geteuid?.()
  if (me !== undefined && stat.uid !== me) {
    throw new RootKeyError('MODE', `${path}: wanted owner ${me}, seen ${stat.uid}`)
  }
  if (stat.size > maxBytes) {
    throw new RootKeyError('SIZE', `${path}: wanted at most ${maxBytes} bytes, seen ${stat.size}`)
  }
  return new Uint8Array(await file.readFile())
}

/**
 * Reads a file that only its owner, who must be this process's user, may read. Symbolic links are
 * not followed.
 * @returns The bytes, or undefined where there is no such file.
 * @throws RootKeyError MODE, SIZE, IO
 */
export async function readPrivateFile(
  path: string,
  maxBytes: number,
): Promise<Uint8Array | undefined> {
  let file: FileHandle | undefined
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    return await readChecked(file, path, maxBytes)
  } catch (error) {
    if (error instanceof RootKeyError) throw error
    if (hasCode(error, 'ENOENT')) return undefined
    if (hasCode(error, 'ELOOP')) {
      throw new RootKeyError('MODE', `${path} is a symbolic link`, { cause: error })
    }
    throw new RootKeyError('IO', `${path} cannot be read`, { cause: error })
  } finally {
    await file?.close()
  }
}

/**
 * Makes a file of mode 0600 that is whole and on disk when this returns, or not there at all. An
 * existing file is never replaced.
 * @throws RootKeyError IO
 */
export async function createPrivateFile(path: string, bytes: Uint8Array): Promise<void> {
  const temporary = `${path}.${randomBytes(8).toString('hex')}.tmp`
  try {
    await writeNew(temporary, bytes)
    try {
      await link(temporary, path)
    } finally {
      await unlink(temporary)
    }
    await syncPath(dirname(path))
  } catch (error) {
    throw new RootKeyError('IO', `${path} cannot be made`, { cause: error })
  }
}
