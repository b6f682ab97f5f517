import { lstat, readdir } from 'node:fs/promises'
import { openRegular } from '../image/files.ts'
import { SIGSTRUCT_SIZE } from '../sigstruct/format.ts'
import { EnclaveFileError } from './errors.ts'

/**
 * What holds an enclave: `image` an image folder, `gramine` and `occlum` a folder made ready for that
 * backend, `sgxs` an SGXS stream, `sdk-elf` a shared object of the Intel SDK, `sigstruct` a SIGSTRUCT
 * alone.
 */
export type EnclaveFileKind = 'image' | 'gramine' | 'occlum' | 'sgxs' | 'sdk-elf' | 'sigstruct'

const SIGSTRUCT_BEGINNING = Buffer.from('06000000e100000000000100', 'hex')
const ELF = Buffer.from('\x7fELF', 'latin1')

/** Tells what a path holds, by its first bytes. @throws EnclaveFileError with `KIND`. */
export async function enclaveFileKind(path: string): Promise<EnclaveFileKind> {
  const stats = await lstat(path)
  if (stats.isDirectory()) return folderKind(path, await readdir(path))
  return await fileKind(path)
}

function folderKind(path: string, names: readonly string[]): EnclaveFileKind {
  if (names.includes('image.sgxs')) return 'image'
  if (names.includes('Occlum.json')) return 'occlum'
  if (names.some(name => name.endsWith('.manifest.sgx'))) return 'gramine'
  throw unknownKind(path)
}

async function fileKind(path: string): Promise<EnclaveFileKind> {
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
  throw unknownKind(path)
}

function unknownKind(path: string): EnclaveFileError {
  const known =
    'an image folder, one for Gramine or Occlum, an SGXS stream, an enclave of the Intel SDK or a SIGSTRUCT'
  return new EnclaveFileError('KIND', `${path}: wanted ${known}`)
}
