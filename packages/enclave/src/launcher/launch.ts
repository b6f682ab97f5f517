import type { Readable } from 'node:stream'
import type { SimPlatform } from '@cloister/attestation'
import type { Mounts } from '../definition/mounts.ts'
import { type OpenedImage, openImage, type VerifiedImage, verifyFiles } from '../image/verify.ts'
import type { InstanceUsage } from './cgroup/group.ts'
import type { Enclosure } from './enclosure.ts'
import { type InstanceEnd, requireJobsEnd, requireNotAborted } from './ending.ts'
import { LaunchError } from './errors.ts'
import type { LaunchEvent } from './event.ts'
import { launchInstance } from './instance.ts'
import type { Confinement, Isolation } from './isolation.ts'
import { jobOf, requireDatasets, requireFolders, requireMemory } from './job-folders.ts'
import type { JobLaunchOptions } from './job-launch-options.ts'
import { removeStaleRuns } from './run-folder.ts'
import { findBubblewrap, strongestConfinement } from './start.ts'
import type { Wire } from './switchboard.ts'
import { launchTogether } from './together.ts'

/** What {@link launch} needs. */
export interface LaunchOptions extends JobLaunchOptions {
  /** The image's folder; or the image, where it was opened already. Its files are verified here. */
  readonly image: string | OpenedImage
  /** The host's folders that the image asks for, by its names. */
  readonly hostFolders?: Readonly<Record<string, string>>
  /** Plays the processor that quotes. */
  readonly platform: SimPlatform
  /** What the program reads, where the image says that it reads anything; nothing unless given. */
  readonly stdin?: Readable
  /**
   * Starts a plain process, which is not shut in at all, even where there is a sandbox. Without
   * this, no instance is started where there is none.
   */
  readonly withoutSandbox?: boolean
  /** Runs the job as a driver and so many executors, each of them an instance by itself. */
  readonly executors?: number
  /** Passes bytes between instances on; tests have a host that does otherwise. */
  readonly wire?: Wire
}

/** How an instance ended. */
export type LaunchResult = InstanceEnd & {
  readonly isolation: Isolation
  readonly usage: InstanceUsage
}

/**
 * Runs a job in a simulated enclave: verifies and measures the image, starts an instance of it that
 * sees only what it is given, and answers its quote requests. What an instance is quoted as is what
 * was measured here. When this process ends, the instance ends.
 * @throws ImageError when the image is not as it was signed
 * @throws LaunchError when no instance could be started or it was lost
 */
export async function launch(options: LaunchOptions): Promise<LaunchResult> {
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
  const watched = { ...options, job, onEvent }
  const prepared = { image, enclosure }
  const { executors } = options
  const result =
    executors === undefined
      ? await launchInstance(watched, prepared)
      : await launchTogether({ ...watched, executors }, prepared)
  return { ...requireJobsEnd(result), isolation: result.isolation, usage: result.usage }
}

async function verified(image: LaunchOptions['image']): Promise<VerifiedImage> {
  return await verifyFiles(typeof image === 'string' ? await openImage(image) : image)
}

/** The strongest enclosure that is to be had here, or none if that is accepted. */
async function availableEnclosure({ withoutSandbox }: LaunchOptions): Promise<Enclosure> {
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

function hostFoldersOf({ hostFolders = {} }: LaunchOptions): Readonly<Record<string, string>> {
  return hostFolders
}
