import type { ImageManifest } from '../../image/manifest.ts'
import { ownProcessFault } from '../../image/own-process.ts'

/** A way between host and enclave, by files that Gramine passes on as they are. */
export interface Channel {
  /** Where init finds it. */
  readonly path: string
  /** Where the host has it, relative to the folder that Gramine runs in. */
  readonly file: string
  readonly isFolder: boolean
}

/** What a launcher writes for init, beside the job's datasets. */
export const JOB_FILES = ['job.json', 'kms.json', 'launcher', 'name'] as const

/**
 * The channels of a job. Whatever comes along them is the host's, and init takes none of it as true:
 * the job is in the report data by its digest, the key service is one that the job names by its key,
 * inputs are ciphertext under signed manifests and heads. What goes out along them is ciphertext.
 */
const CHANNELS: readonly Channel[] = [
  { path: '/in', file: 'in', isFolder: true },
  { path: '/out', file: 'out', isFolder: true },
  ...JOB_FILES.map(name => ({ path: `/job/${name}`, file: `job/${name}`, isFolder: false })),
]

/** The channels that an image has: none unless its jobs can run in one process. */
export function channelsOf(image: ImageManifest): readonly Channel[] {
  return ownProcessFault(image) === undefined ? CHANNELS : []
}
