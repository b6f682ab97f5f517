import type { Stats } from 'node:fs'
import { lstat, readdir, readlink, realpath, stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { EnclaveDefinition } from '../definition/schema.ts'
import { readElf } from '../elf/read.ts'
import { ImageError } from './errors.ts'
import { openRegular } from './files.ts'
import { matching, type PathFilter } from './globs.ts'
import { isImagePath, isInnerLink } from './manifest.ts'
import type { Origin } from './origin.ts'
import type { Plan } from './plan.ts'

/** A file of the building machine, and its place in the image. */
export interface PutFile {
  readonly from: string
  readonly to: string
}

/** A folder of the building machine that is copied, and its place in the image. */
export interface PutFolder extends PutFile {
  readonly origin: Origin
  /** Of paths below the folder: what is not copied. */
  readonly excluded: (path: string, isFolder: boolean) => boolean
}

/** A fault of what is to go in. */
export function sourceFault(message: string, cause?: unknown): ImageError {
  return new ImageError('SOURCE', message, { cause })
}

/** Permissions come from the definition, or from whether the owner may execute: never the umask. */
function modeOf(stats: Stats): number {
  return (stats.mode & 0o100) === 0 ? 0o644 : 0o755
}

/** Puts a single file in the plan. @throws ImageError SOURCE, CONFLICT */
export async function putFile(
  plan: Plan,
  { from, to }: PutFile,
  origin: Origin,
  mode?: number,
): Promise<PutFile> {
  const file = await openRegular(from).catch((cause: unknown) => {
    throw sourceFault(`cannot read ${from}`, cause)
  })
  try {
    const stats = await file.stat()
    if (!stats.isFile()) throw sourceFault(`${from} is no file`)
    const elf = await readElf(file, stats.size).catch((cause: unknown) => {
      const reason = cause instanceof Error ? cause.message : 'malformed'
      throw sourceFault(`${from} is a malformed ELF file: ${reason}`, cause)
    })
    plan.put(to, { type: 'copy', from, mode: mode ?? modeOf(stats), elf, origin })
    return { from, to }
  } finally {
    await file.close()
  }
}

/**
 * Puts a folder in the plan; `path` is empty for the folder itself.
 * @returns the files that were put
 * @throws ImageError SOURCE, CONFLICT
 */
export async function putFolder(
  plan: Plan,
  folder: PutFolder,
  path = '',
): Promise<readonly PutFile[]> {
  plan.folder(join(folder.to, path), folder.origin)
  const put: PutFile[] = []
  const names = await readdir(join(folder.from, path)).catch((cause: unknown) => {
    throw sourceFault(`cannot read ${join(folder.from, path)}`, cause)
  })
  for (const name of names.sort()) {
    const inner = join(path, name)
    const [from, to] = [join(folder.from, inner), join(folder.to, inner)]
    const stats = await lstat(from).catch((cause: unknown) => {
      throw sourceFault(`cannot read ${from}`, cause)
    })
    if (folder.excluded(inner, stats.isDirectory())) continue
    if (!isImagePath(to)) throw sourceFault(`${from}: its name cannot stand in an image`)
    if (stats.isDirectory()) {
      put.push(...(await putFolder(plan, folder, inner)))
    } else if (stats.isFile()) {
      put.push(await putFile(plan, { from, to }, folder.origin))
    } else if (stats.isSymbolicLink()) {
      const target = await readlink(from)
      // Within the tree that is copied: what lies around it in the image may be another.
      if (!isInnerLink(inner, target)) {
        throw sourceFault(`${from} is a link that leads out of ${folder.from}, to ${target}`)
      }
      plan.put(to, { type: 'link', target, origin: folder.origin })
    } else {
      throw sourceFault(`${from} is neither file, folder nor link`)
    }
  }
  return put
}

/**
 * Puts what one entry of the definition's `files` names in the plan.
 * @throws ImageError SOURCE, CONFLICT
 */
export async function putSource(
  plan: Plan,
  file: NonNullable<EnclaveDefinition['files']>[number],
  baseDir: string,
  origin: Origin,
): Promise<readonly PutFile[]> {
  let from: string
  let stats: Stats
  try {
    from = await realpath(resolve(baseDir, file.from))
    stats = await stat(from)
  } catch (cause) {
    throw sourceFault(`cannot read ${file.from} (relative to ${baseDir})`, cause)
  }
  const to = file.to.slice(1)
  if (stats.isFile()) {
    const mode = file.mode === undefined ? undefined : Number.parseInt(file.mode, 8)
    return [await putFile(plan, { from, to }, origin, mode)]
  }
  if (!stats.isDirectory()) throw sourceFault(`${file.from} is neither file nor folder`)
  if (file.mode !== undefined) {
    throw sourceFault(`${file.from} is a folder: mode is for single files`)
  }
  const excluded: PathFilter = matching(file.exclude ?? [])
  return await putFolder(plan, { from, to, origin, excluded: path => excluded(path) })
}
