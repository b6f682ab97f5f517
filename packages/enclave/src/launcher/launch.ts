import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import type { SimPlatform } from '@cloister/attestation'
import { canonicalJsonBytes } from '@cloister/sealed'
import type { Mounts } from '../definition/mounts.ts'
import { connectionsOf } from '../definition/network.ts'
import { loadImage } from '../image/load.ts'
import { type OpenedImage, openImage, type VerifiedImage, verifyFiles } from '../image/verify.ts'
import type { InstanceUsage } from './cgroup/group.ts'
import { type Enclosure, encloseInstance } from './enclosure.ts'
import { endOf, type InstanceEnd, requireNotAborted } from './ending.ts'
import { LaunchError } from './errors.ts'
import type { LaunchEvent } from './event.ts'
import type { Confinement, Isolation } from './isolation.ts'
import {
  absolute,
  type JobOfLaunch,
  jobOf,
  requireDatasets,
  requireFolders,
  requireMemory,
  writeJob,
} from './job-folders.ts'
import { openNetworkRelay } from './network-relay.ts'
import { answerQuotes } from './quoting.ts'
import { openRelay } from './relay.ts'
import { RunFolder, removeStaleRuns } from './run-folder.ts'
import { passOnSignals } from './signals.ts'
import { findBubblewrap, strongestConfinement } from './start.ts'

const MIB = 1024 * 1024

/** What {@link launch} needs. */
export interface LaunchOptions extends JobOfLaunch {
  /** The image's folder; or the image, where it was opened already. Its files are verified here. */
  readonly image: string | OpenedImage
  /** The host's folders that the image asks for, by its names. */
  readonly hostFolders?: Readonly<Record<string, string>>
  /** Plays the processor that quotes. */
  readonly platform: SimPlatform
  readonly onEvent?: (event: LaunchEvent) => void
  /** Called when the image was verified, and before anything of it is started. Where it throws, nothing is. */
  readonly onVerified?: () => Promise<void>
  /** Ends the instance. */
  readonly signal?: AbortSignal
  /** Passes this process's SIGTERM, SIGINT, SIGHUP, SIGUSR1 and SIGUSR2 on to the instance. */
  readonly passOnSignals?: boolean
  /** What the program reads, where the image says that it reads anything; nothing unless given. */
  readonly stdin?: Readable
  /** Where the program's output goes; this process's own unless told. */
  readonly stdout?: Writable
  readonly stderr?: Writable
  /**
   * Starts a plain process, which is not shut in at all, even where there is a sandbox. Without
   * this, no instance is started where there is none.
   */
  readonly withoutSandbox?: boolean
}

/** How an instance ended. */
export type LaunchResult = InstanceEnd & {
  readonly isolation: Isolation
  readonly usage: InstanceUsage
}

type WithEvents = LaunchOptions & { readonly onEvent: (event: LaunchEvent) => void }

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
  const outputs = Object.values(absolute(options.outputs))
  const isPlain = enclosure.confinement === 'none'
  const folder = await RunFolder.make(outputs, isPlain ? plaintextBytes(image) : 0)
  try {
    // Where nothing keeps the program from it, it gets a copy of the image and not the image.
    const used = isPlain ? await loadImage(image.folder, join(folder.path, 'root')) : image
    return await launchIn(folder, { ...options, job, onEvent }, used, enclosure)
  } finally {
    await folder.remove()
  }
}

async function verified(image: LaunchOptions['image']): Promise<VerifiedImage> {
  return await verifyFiles(typeof image === 'string' ? await openImage(image) : image)
}

/** What comes to lie in the folder of an instance without a sandbox, its image among it. */
function plaintextBytes({ manifest }: VerifiedImage): number {
  const files = manifest.files.reduce(
    (sum, entry) => sum + (entry.type === 'file' ? entry.size : 0),
    0,
  )
  return files + manifest.resources.memoryMiB * MIB
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

async function launchIn(
  folder: RunFolder,
  options: WithEvents,
  image: VerifiedImage,
  enclosure: Enclosure,
): Promise<LaunchResult> {
  const { onEvent, platform, pin } = options
  const jobFolder = await writeJob(folder, options)
  await writeFile(join(jobFolder, 'manifest.json'), canonicalJsonBytes(image.manifest))
  const kmsSocket = join(folder.path, 'kms.sock')
  // Init is root of its namespace and needs no permission; the program is to have none.
  const mode = enclosure.confinement === 'two-users' ? 0o000 : 0o600
  const relays = [await openRelay(kmsSocket, pin.url, mode)]
  try {
    const connections = connectionsOf(image.manifest.network)
    const networkSocket = connections.length === 0 ? undefined : join(folder.path, 'network.sock')
    if (networkSocket !== undefined) {
      relays.push(await openNetworkRelay(networkSocket, connections, mode))
    }
    const instance = await encloseInstance(enclosure, {
      folder,
      jobFolder,
      kmsSocket,
      networkSocket,
      image,
      inputs: absolute(options.inputs),
      outputs: absolute(options.outputs),
      hostFolders: absolute(hostFoldersOf(options)),
      stdin: image.manifest.entry.standardInput ? options.stdin : undefined,
      onIsolation: isolation =>
        onEvent({ kind: 'isolation', isolation, message: describe(isolation) }),
    })
    const enclave = {
      mrEnclave: Buffer.from(image.measurement, 'hex'),
      mrSigner: Buffer.from(image.mrSigner, 'hex'),
      ...image.manifest.identity,
    }
    answerQuotes(instance.started.quotes, platform, enclave, () => onEvent({ kind: 'quoted' }))
    const pid = await instance.started.pid.catch(() => undefined)
    const stop =
      pid === undefined || options.passOnSignals !== true
        ? () => {}
        : passOnSignals(pid, instance.started.kill)
    try {
      const end = await endOf(instance.started, options)
      return { ...end, isolation: instance.isolation, usage: instance.group.usage() }
    } catch (error) {
      throw explained(error, instance.group.usage(), image)
    } finally {
      stop()
      instance.started.quotes.destroy()
      await instance.group.remove()
    }
  } finally {
    for (const relay of relays) relay.close()
  }
}

/** An instance that the kernel ended because it used too much memory could not say so itself. */
function explained(error: unknown, usage: InstanceUsage, { manifest }: VerifiedImage): unknown {
  const isLost = error instanceof LaunchError && error.code === 'STATUS'
  if (!isLost || (usage.memoryKills ?? 0) === 0) return error
  const { memoryMiB } = manifest.resources
  const message = `the instance used more than the ${memoryMiB} MiB that its image declares`
  return new LaunchError('MEMORY', message, { cause: error })
}

function describe({ sandbox, confinement, systemCalls, limits }: Isolation): string {
  if (sandbox === 'none') return 'no isolation'
  const users =
    confinement === 'two-users'
      ? 'program and init are different users'
      : 'program and init are the same user'
  const calls = systemCalls === 'filtered' ? 'system calls filtered' : 'any system call'
  return `bubblewrap; ${users}; ${calls}; memory limit by ${limits.memory}, processes by ${limits.processes}`
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
