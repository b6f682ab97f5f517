import { lstat } from 'node:fs/promises'
import { join } from 'node:path'
import { openRegular } from '../image/files.ts'
import { SIGSTRUCT_SIZE } from '../sigstruct/format.ts'
import { EnclaveFileError } from './errors.ts'

/**
 * What holds an enclave: `image` an image folder, `sgxs` an SGXS stream, `sdk-elf` a shared object of
 * the Intel SDK, `sigstruct` a SIGSTRUCT alone.
 */
export type EnclaveFileKind = 'image' | 'sgxs' | 'sdk-elf' | 'sigstruct'

const SIGSTRUCT_BEGINNING = Buffer.from('06000000e100000000000100', 'hex')
const ELF = Buffer.from('\x7fELF', 'latin1')

/** Tells what a path holds, by its first bytes. @throws EnclaveFileError with `KIND`. */
export async function enclaveFileKind(path: string): Promise<EnclaveFileKind> {
  const isImage = await lstat(join(path, 'image.sgxs')).catch(() => undefined)
  if (isImage !== undefined) return 'image'
  const file = await openRegular(path)
  try {
    const stats = await file.stat()
    const head = Buffer.alloc(12)
    if (stats.isFile()) await file.read(head, 0, head.length, 0)
    if (stats.size === SIGSTRUCT_SIZE && head.equals(SIGSTRUCT_BEGINNING)) return 'sigstruct'
    if (head.subarray(0, ELF.length).equals(ELF)) return 'sdk-elf'
    const tag = head.toString('latin1', 0, 8)
    if (tag === 'ECREATE\0' || tag === 'UNSIZED\0') return 'sgxs'
  } finally {
    await file.close()
  }
  const known = 'an image folder, an SGXS stream, an enclave of the Intel SDK or a SIGSTRUCT'
  throw new EnclaveFileError('KIND', `${path}: wanted ${known}`)
}
