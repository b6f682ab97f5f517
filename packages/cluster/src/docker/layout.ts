import { type JobFile, movePaths } from '@cloister/engine/job'
import type { Mount } from './container.ts'

/** Where a container finds what it is given. */
const BASE = '/cloister'

/** Folder in the container with the sockets that lead out of it. */
export const SOCKETS = `${BASE}/sockets`

/** Leads to whoever started the container. */
export const CLIENT_SOCKET = 'client.sock'

/** Leads to the key service. */
export const KMS_SOCKET = 'kms.sock'

/** Folder of the containers of one job, in which the driver's makes a socket for the others. */
export const DOOR = `${BASE}/door`

/** Leads to the launcher of the driver. */
export const DOOR_SOCKET = 'driver.sock'

/** A job's folders in a container. */
export interface Laid {
  /** The job, with the container's paths. */
  readonly job: JobFile
  readonly mounts: readonly Mount[]
}

/**
 * Gives each of a job's folders its place in a container.
 * @param writableHostFolders - Names of those that the image writes to.
 */
export function layOut(job: JobFile, writableHostFolders: readonly string[]): Laid {
  const mounts: Mount[] = []
  const laid = movePaths(job, (source, use, name) => {
    const target = [BASE, use, ...(name === '' ? [] : [name])].join('/')
    const isWritable = use === 'out' || (use === 'host' && writableHostFolders.includes(name))
    mounts.push({ source, target, isWritable })
    return target
  })
  return { job: laid, mounts }
}

/** What a text of the container's says, with the host's paths. */
export function hostWords(text: string, mounts: readonly Mount[]): string {
  return mounts.reduce((said, { source, target }) => {
    const path = new RegExp(`${target}(?![A-Za-z0-9_])`, 'g')
    return said.replace(path, () => source)
  }, text)
}
