import { chown, mkdir, readdir, stat } from 'node:fs/promises'
import type { ContainerUser } from './container.ts'
import type { Engine } from './engine.ts'
import { ContainerError } from './errors.ts'

/** The user of deploy/image/Dockerfile. */
const IMAGE_USER = 10001

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
 * Makes the folders of a job's results, where the container's user can write.
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
    if ((await readdir(folder)).length > 0) {
      const whose = `it is of user ${found.uid}`
      throw new ContainerError('USER', `${folder}: wanted a folder that user ${uid} can write to; ${whose}`)
    }
    await chown(folder, uid, gid)
  }
}
