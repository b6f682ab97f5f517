import { execFile } from 'node:child_process'
import type { FileHandle } from 'node:fs/promises'
import { dirname, isAbsolute, join, relative } from 'node:path'
import { promisify } from 'node:util'
import { ImageError } from './errors.ts'
import { openRegular } from './files.ts'

const run = promisify(execFile)

// ELF machine number to the program that loads its shared libraries. Only these are ever run: a
// file may name any program as its loader.
const LOADERS: ReadonlyMap<number, string> = new Map([
  [62, '/lib64/ld-linux-x86-64.so.2'],
  [183, '/lib/ld-linux-aarch64.so.1'],
])

/** Where a loader looks without being told. */
const SYSTEM_FOLDERS = ['/lib', '/lib64', '/usr/lib', '/usr/lib64'] as const

const ELF_HEADER = 64
const PROGRAM_HEADER = 56
const PT_DYNAMIC = 2

/** A shared library: where it is, and where it has to be in the image. */
export interface Library {
  readonly from: string
  /** Absolute path in the image. */
  readonly to: string
}

async function readAt(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const bytes = Buffer.alloc(length)
  const { bytesRead } = await file.read(bytes, 0, length, position)
  return bytes.subarray(0, bytesRead)
}

/** The loader of a dynamically linked ELF file; undefined where there is none to ask. */
async function loaderOf(file: FileHandle, path: string): Promise<string | undefined> {
  const header = await readAt(file, 0, ELF_HEADER)
  // 64 bits, little-endian.
  const magic = Buffer.from('\x7fELF\x02\x01', 'latin1')
  if (header.length < ELF_HEADER || !header.subarray(0, 6).equals(magic)) return undefined
  const count = header.readUInt16LE(56)
  const table = await readAt(file, Number(header.readBigUInt64LE(32)), count * PROGRAM_HEADER)
  let dynamic = false
  for (let at = 0; at + PROGRAM_HEADER <= table.length; at += PROGRAM_HEADER) {
    if (table.readUInt32LE(at) === PT_DYNAMIC) dynamic = true
  }
  if (!dynamic) return undefined
  const machine = header.readUInt16LE(18)
  const loader = LOADERS.get(machine)
  if (loader === undefined) {
    throw new ImageError('LIBRARY', `${path}: no loader is known for ELF machine ${machine}`)
  }
  return loader
}

const FOUND = /^\t(?:\S+ => )?(\/.+) \(0x[0-9a-f]+\)$/

/** What the loader would load, found without the building machine's cache and environment. */
async function listed(loader: string, path: string): Promise<readonly string[]> {
  const argv = ['--inhibit-cache', '--list', path]
  const options = { env: { LC_ALL: 'C' }, timeout: 60_000, maxBuffer: 4 * 1024 * 1024 }
  const { stdout } = await run(loader, argv, options).catch(
    (cause: { readonly stderr?: string }) => {
      const reason = cause.stderr?.trim() || `${loader} cannot be run`
      throw new ImageError('LIBRARY', `cannot list the libraries of ${path}: ${reason}`, { cause })
    },
  )
  return stdout.split('\n').flatMap(line => FOUND.exec(line)?.[1] ?? [])
}

/** Whether a library was found by its place beside the file, $ORIGIN, be it up and down again. */
function isBeside(file: string, path: string): boolean {
  return path.startsWith(`${dirname(file)}/`)
}

function isInside(folder: string, path: string): boolean {
  const steps = relative(folder, path)
  return steps !== '' && !isAbsolute(steps) && steps !== '..' && !steps.startsWith('../')
}

/**
 * Everything that an ELF file loads when it starts, its loader included; nothing for other files.
 * Libraries that it finds by its own place, as `$ORIGIN/../lib`, keep theirs relative to it; those of
 * the system have theirs.
 * @param from - The file, on this machine.
 * @param to - Its absolute path in the image.
 * @throws ImageError with `LIBRARY` when one is not found, or is where the image's loader would not
 * look.
 */
export async function sharedLibraries(from: string, to: string): Promise<readonly Library[]> {
  const file = await openRegular(from)
  const loader = await loaderOf(file, from).finally(() => file.close())
  if (loader === undefined) return []
  const libraries = new Map([[loader, { from: loader, to: loader }]])
  for (const path of await listed(loader, from)) {
    if (isBeside(from, path)) {
      const place = join(dirname(to), relative(dirname(from), path))
      libraries.set(path, { from: path, to: place })
    } else if (SYSTEM_FOLDERS.some(folder => isInside(folder, path))) {
      libraries.set(path, { from: path, to: path })
    } else {
      const message = `${from} needs ${path}, which is outside the system's folders: list it under files`
      throw new ImageError('LIBRARY', message)
    }
  }
  return [...libraries.values()]
}
