import { randomBytes } from 'node:crypto'
import { open, readFile, rename } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import type { EnclaveDefinition } from '../definition/schema.ts'
import { LockError } from './errors.ts'
import { encodeLock, type Lock, parseLock } from './format.ts'
import { lockInputs, staleness } from './request.ts'

/** Where a definition's lock is: `enclave.lock` beside `enclave.yaml`. */
export function lockPath(definitionPath: string): string {
  const name = basename(definitionPath).replace(/\.ya?ml$/, '')
  return join(dirname(definitionPath), `${name}.lock`)
}

/** Reads a lock; undefined where there is none. @throws LockError LOCK_FORMAT */
export async function findLock(path: string): Promise<Lock | undefined> {
  const bytes = await readFile(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw new LockError('LOCK_MISSING', `cannot read ${path}`, { cause: error })
  })
  return bytes === undefined ? undefined : parseLock(bytes)
}

/**
 * Reads the lock that was made for a definition.
 * @throws LockError LOCK_MISSING, LOCK_FORMAT, LOCK_STALE
 */
export async function readLock(
  path: string,
  definition: EnclaveDefinition,
  baseDir: string,
): Promise<Lock> {
  const lock = await findLock(path)
  if (lock === undefined) throw new LockError('LOCK_MISSING', `${path} is not there`)
  const stale = staleness(lock, await lockInputs(definition, baseDir))
  if (stale === undefined) return lock
  throw new LockError('LOCK_STALE', `${path}: ${stale} changed since it was written`)
}

/** Writes a lock, whole or not at all. */
export async function writeLock(path: string, lock: Lock): Promise<void> {
  const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString('hex')}.tmp`)
  const file = await open(temporary, 'wx', 0o644)
  try {
    await file.writeFile(encodeLock(lock))
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(temporary, path)
}
