import type { Writable } from 'node:stream'
import type { LaunchEvent } from './event.ts'
import type { JobOfLaunch } from './job-folders.ts'

/** What every way of launching a job takes. */
export interface JobLaunchOptions extends JobOfLaunch {
  readonly onEvent?: (event: LaunchEvent) => void
  /** Called when the image was verified, and before anything of it is started. Where it throws, nothing is. */
  readonly onVerified?: () => Promise<void>
  /** Ends the instance. */
  readonly signal?: AbortSignal
  /** Passes this process's SIGTERM, SIGINT, SIGHUP, SIGUSR1 and SIGUSR2 on to the instance. */
  readonly passOnSignals?: boolean
  /** The instance's name, 16 hexadecimal digits, where whoever cleans up after it has to know it. */
  readonly instanceName?: string
  /** Where the program's output goes; this process's own unless told. */
  readonly stdout?: Writable
  readonly stderr?: Writable
}
