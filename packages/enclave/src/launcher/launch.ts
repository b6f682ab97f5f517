import type { Readable } from 'node:stream'
import type { SimPlatform } from '@cloister/attestation'
import type { OpenedImage } from '../image/verify.ts'
import type { InstanceUsage } from './cgroup/group.ts'
import { type InstanceEnd, requireJobsEnd } from './ending.ts'
import type { ListeningOptions } from './hosts/options.ts'
import { launchInstance } from './instance.ts'
import type { Isolation } from './isolation.ts'
import type { JobLaunchOptions } from './job-launch-options.ts'
import { prepareJob } from './prepare.ts'
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
  /** Executors are on other hosts, which call in; without this, they are started here. */
  readonly hosts?: ListeningOptions
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
  const { job, prepared } = await prepareJob(options)
  const { executors, onEvent = () => {} } = options
  const watched = { ...options, job, onEvent }
  const result =
    executors === undefined
      ? await launchInstance(watched, prepared)
      : await launchTogether({ ...watched, executors }, prepared)
  return { ...requireJobsEnd(result), isolation: result.isolation, usage: result.usage }
}
