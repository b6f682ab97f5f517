import { existsSync } from 'node:fs'
import { BackendError } from '../errors.ts'

/** Where Gramine's packages put their PAL. */
const PALS = [
  '/usr/lib/x86_64-linux-gnu/gramine/sgx/libpal.so',
  '/usr/lib64/gramine/sgx/libpal.so',
  '/usr/lib/gramine/sgx/libpal.so',
  '/usr/local/lib/x86_64-linux-gnu/gramine/sgx/libpal.so',
] as const

/** Gramine's PAL as it is installed; undefined where it is not. */
export function findGraminePal(): string | undefined {
  return PALS.find(path => existsSync(path))
}

/** The PAL that was named, or the one installed. @throws BackendError with `TOOL_MISSING`. */
export function requireGraminePal(named: string | undefined): string {
  const libpal = named ?? findGraminePal()
  if (libpal !== undefined) return libpal
  throw new BackendError('TOOL_MISSING', `Gramine is not installed: none of ${PALS.join(', ')}`)
}
