import { mkdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { CodedError } from '@cloister/attestation'
import { writeWhole } from '../documents/store.ts'

/** A data folder that another process works on. */
export class DataInUseError extends CodedError<'IN_USE'> {}

const FILE = 'pid'

/**
 * Takes a data folder for this process; it is made with mode 0700 where absent.
 * @returns Gives it back.
 * @throws DataInUseError; the file system's errors
 */
export async function takeFolder(folder: string): Promise<() => Promise<void>> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const path = join(folder, FILE)
  const holder = Number(await readFile(path, 'utf8').catch(() => '0'))
  if (holder > 0 && holder !== process.pid && isAlive(holder)) {
    throw new DataInUseError(
      'IN_USE',
      `${folder} is worked on by process ${holder}; if that is another program, remove ${path}`,
    )
  }
  await writeWhole(folder, FILE, String(process.pid))
  return async () => await rm(path, { force: true })
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}
