import { randomBytes } from 'node:crypto'
import { lstat, rename, rm } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { CodedError } from '@cloister/attestation'
import { makeFolder, syncFolder } from '../image/files.ts'
import { BackendError } from './errors.ts'

/**
 * Fills a folder that appears under its name whole or not at all.
 * @param out - Nothing may be there yet.
 * @throws BackendError with `EXISTS`, `WRITE`, and what `fill` throws
 */
export async function preparedFolder<T>(
  out: string,
  fill: (folder: string) => Promise<T>,
): Promise<T & { readonly folder: string }> {
  const folder = resolve(out)
  const there = await lstat(folder).catch(() => undefined)
  if (there !== undefined) throw new BackendError('EXISTS', `${folder} exists already`)
  const suffix = randomBytes(6).toString('hex')
  const temporary = join(dirname(folder), `.${basename(folder)}.${suffix}.tmp`)
  try {
    await makeFolder(temporary)
    const filled = await fill(temporary)
    await rename(temporary, folder)
    await syncFolder(dirname(folder))
    return { ...filled, folder }
  } catch (cause) {
    await rm(temporary, { recursive: true, force: true }).catch(() => undefined)
    if (cause instanceof CodedError) throw cause
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new BackendError('WRITE', `cannot write ${folder}: ${reason}`, { cause })
  }
}
