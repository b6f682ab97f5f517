import type { JobStatement } from '@cloister/kms'
import type { Mounts } from '../definition/mounts.ts'
import { openImage, type VerifiedImage, verifyFiles } from '../image/verify.ts'
import type { Enclosure } from './enclosure.ts'
import { requireNotAborted } from './ending.ts'
import { LaunchError } from './errors.ts'
import type { LaunchEvent } from './event.ts'
import type { Prepared } from './instance.ts'
import type { Confinement } from './isolation.ts'
import { jobOf, requireDatasets, requireFolders, requireMemory } from './job-folders.ts'
import type { LaunchOptions } from './launch.ts'
import { removeStaleRuns } from './run-folder.ts'
import { findBubblewrap, strongestConfinement } from './start.ts'

/** What is to be run, found to be possible here: its image is as it was signed. */
export interface PreparedJob {
  readonly job: JobStatement
  readonly prepared: Prepared
}

/**
 * Verifies and measures a job's image, and looks whether all is here that the job wants.
 * @throws ImageError when the image is not as it was signed; LaunchError when something is missing
 */
export async function prepareJob(
  options: Omit<LaunchOptions, 'executors' | 'hosts'>,
): Promise<PreparedJob> {
  const { signal, onEvent = () => {} } = options
  const job = jobOf(options)
  requireMemory(job)
  await requireDatasets(job, options)
  const [image, enclosure] = await Promise.all([
    verified(options.image),
    availableEnclosure(options),
    removeStaleRuns(),
  ])
  const { mounts, identity } = image.manifest
  await requireFolders('host', mounts.unprotectedHostFolders ?? [], hostFoldersOf(options))
  onEvent({ kind: 'image', measurement: image.measurement, debug: identity.debug })
  warnOfHostFolders(mounts, onEvent)
  await options.onVerified?.()
  requireNotAborted(signal)
  return { job, prepared: { image, enclosure } }
}

async function verified(image: LaunchOptions['image']): Promise<VerifiedImage> {
  return await verifyFiles(typeof image === 'string' ? await openImage(image) : image)
}

/** The strongest enclosure that is to be had here, or none if that is accepted. */
async function availableEnclosure({
  withoutSandbox,
}: Pick<LaunchOptions, 'withoutSandbox'>): Promise<Enclosure> {
  if (withoutSandbox === true) return { confinement: 'none' }
  const bubblewrap = findBubblewrap()
  const confinement: Confinement =
    bubblewrap === undefined ? 'none' : await strongestConfinement(bubblewrap)
  if (bubblewrap !== undefined && confinement !== 'none') return { bubblewrap, confinement }
  const why =
    bubblewrap === undefined
      ? 'bubblewrap is not installed'
      : 'bubblewrap may make no namespaces for you'
  throw new LaunchError(
    'SANDBOX',
    `there is no sandbox here (${why}): the program would see and change this machine as you do`,
  )
}

function warnOfHostFolders(mounts: Mounts, onEvent: (event: LaunchEvent) => void): void {
  for (const { name, to, writable } of mounts.unprotectedHostFolders ?? []) {
    const what = writable === true ? 'reads and writes' : 'reads'
    const message = `UNPROTECTED: the program ${what} the host's folder ${name} at ${to}`
    onEvent({ kind: 'warning', code: 'UNPROTECTED_HOST_FOLDER', message })
  }
}

function hostFoldersOf({
  hostFolders = {},
}: Pick<LaunchOptions, 'hostFolders'>): Readonly<Record<string, string>> {
  return hostFolders
}
