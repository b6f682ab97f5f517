import type { Stats } from 'node:fs'
import { chown, mkdir, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { IMAGE_USER } from '../image.ts'
import type { ContainerUser } from './container.ts'
import type { Engine } from './engine.ts'
import { ContainerError } from './errors.ts'

/** What lies beside every result. */
const RECEIPT = 'receipt.jws'

/** Who a container's processes are: you; where you are root, nobody who owns anything of the machine's. */
export function containerUser(): ContainerUser {
  const [uid, gid] = [process.getuid?.() ?? 0, process.getgid?.() ?? 0]
  return uid === 0 ? { uid: IMAGE_USER, gid: IMAGE_USER } : { uid, gid }
}

/** Whether the container's user is another one to the machine, to whom things must be handed over. */
export function isAnother(engine: Engine): boolean {
  return !engine.isRootless && process.getuid?.() === 0
}

/**
 * Makes the folders of a job's results, where the container's user can write: what is root's, and is
 * empty or has a result in it, is given to it.
 * @throws ContainerError USER
 */
export async function makeOutputFolders(
  folders: readonly string[],
  engine: Engine,
  { uid, gid }: ContainerUser,
): Promise<void> {
  for (const folder of folders) {
    await mkdir(folder, { recursive: true })
    if (!isAnother(engine)) continue
    const found = await stat(folder)
    if (found.uid === uid || (found.mode & 0o002) !== 0) continue
    // A folder with anything else in it may be the machine's: who means to give it away does that.
    const names = await readdir(folder)
    const isForResults = names.length === 0 || names.includes(RECEIPT)
    if (found.uid !== 0 || !isForResults) throw notFor(uid, folder, 'write to', found)
    await chown(folder, uid, gid)
  }
}

/**
 * Sealed files are their owner's alone unless somebody said otherwise: that is told before anything
 * is started.
 * @throws ContainerError USER
 */
export async function requireReadable(
  folders: readonly string[],
  engine: Engine,
  { uid, gid }: ContainerUser,
): Promise<void> {
  if (!isAnother(engine)) return
  for (const folder of folders) {
    const names = await readdir(folder).catch(() => [])
    for (const path of [folder, ...names.map(name => join(folder, name))]) {
      const found = await stat(path).catch(() => undefined)
      if (found === undefined) continue
      const bit = found.uid === uid ? 0o400 : found.gid === gid ? 0o040 : 0o004
      if ((found.mode & bit) === 0) throw notFor(uid, path, 'read', found)
    }
  }
}

function notFor(uid: number, path: string, doing: string, seen: Stats): ContainerError {
  const mode = (seen.mode & 0o777).toString(8)
  const message = `${path}: wanted what the container's user ${uid} can ${doing}; it is of user ${seen.uid}, mode ${mode}`
  return new ContainerError('USER', message)
}
