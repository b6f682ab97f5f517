import { chown, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { canonicalJsonBytes } from '@cloister/sealed'
import { connectionsOf } from '../definition/network.ts'
import { loadImage } from '../image/load.ts'
import type { VerifiedImage } from '../image/verify.ts'
import { PROGRAM_UID } from '../instance/layout.ts'
import type { Place } from '../instance/together.ts'
import type { InstanceUsage } from './cgroup/group.ts'
import { type Enclosure, encloseInstance } from './enclosure.ts'
import { endOf, type InstanceEnd, type ServedEnd } from './ending.ts'
import { LaunchError } from './errors.ts'
import type { LaunchEvent } from './event.ts'
import type { Isolation } from './isolation.ts'
import { absolute, writeJob } from './job-folders.ts'
import type { LaunchOptions } from './launch.ts'
import { openNetworkRelay } from './network-relay.ts'
import { answerQuotes } from './quoting.ts'
import { openRelay } from './relay.ts'
import type { Relay } from './relay-socket.ts'
import { RunFolder } from './run-folder.ts'
import type { PeerSockets } from './sandbox.ts'
import { passOnSignals } from './signals.ts'
import type { Switchboard } from './switchboard.ts'

const MIB = 1024 * 1024

/** What instances are started from: verified and measured once for all of a job. */
export interface Prepared {
  readonly image: VerifiedImage
  readonly enclosure: Enclosure
}

/** An instance among those of a job. */
export interface Among {
  readonly place: Place
  readonly switchboard: Switchboard
}

/** A launch whose events are told to somebody. */
export type InstanceOptions = Omit<LaunchOptions, 'executors' | 'hosts'> & {
  readonly onEvent: (event: LaunchEvent) => void
  /** Undefined for an instance that is alone. */
  readonly among?: Among | undefined
}

/** How an instance ended, and in what it ran. */
export type InstanceResult = (InstanceEnd | ServedEnd) & {
  readonly isolation: Isolation
  readonly usage: InstanceUsage
}

/** Starts one instance, and follows it to its end. @throws LaunchError */
export async function launchInstance(
  options: InstanceOptions,
  { image, enclosure }: Prepared,
): Promise<InstanceResult> {
  const outputs = Object.values(absolute(options.outputs))
  const isPlain = enclosure.confinement === 'none'
  const bytes = isPlain ? plaintextBytes(image) : 0
  const folder = await RunFolder.make(outputs, bytes, options.instanceName)
  try {
    // Where nothing keeps the program from it, it gets a copy of the image and not the image.
    const used = isPlain ? await loadImage(image.folder, join(folder.path, 'root')) : image
    return await launchIn(folder, options, used, enclosure)
  } finally {
    await folder.remove()
  }
}

/** What comes to lie in the folder of an instance without a sandbox, its image among it. */
function plaintextBytes({ manifest }: VerifiedImage): number {
  const files = manifest.files.reduce(
    (sum, entry) => sum + (entry.type === 'file' ? entry.size : 0),
    0,
  )
  return files + manifest.resources.memoryMiB * MIB
}

async function launchIn(
  folder: RunFolder,
  options: InstanceOptions,
  image: VerifiedImage,
  enclosure: Enclosure,
): Promise<InstanceResult> {
  const { onEvent, platform, pin, among } = options
  const jobFolder = await writeJob(folder, { ...options, place: among?.place })
  await writeFile(join(jobFolder, 'manifest.json'), canonicalJsonBytes(image.manifest))
  const kmsSocket = join(folder.path, 'kms.sock')
  // Init is root of its namespace and needs no permission; the program is to have none.
  const mode = enclosure.confinement === 'two-users' ? 0o000 : 0o600
  const relays: Relay[] = [await openRelay(kmsSocket, pin.url, mode)]
  try {
    const peers = among && (await openPeers(folder, among, enclosure, mode))
    if (peers !== undefined) relays.push(peers.relay)
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
      peers,
      image,
      inputs: absolute(options.inputs),
      outputs: absolute(options.outputs),
      hostFolders: absolute(options.hostFolders ?? {}),
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
      const usage = instance.group.usage()
      return { ...withMemory(end, usage, image), isolation: instance.isolation, usage }
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

/** What leads from this instance to the others, and from them to it. */
async function openPeers(
  folder: RunFolder,
  { place, switchboard }: Among,
  enclosure: Enclosure,
  mode: number,
): Promise<PeerSockets & { readonly relay: Relay }> {
  const socket = join(folder.path, 'peers.sock')
  const inboundFolder = join(folder.path, 'inbound')
  await mkdir(inboundFolder, { mode: 0o700 })
  // Init's, and not the program's, which is the launcher's user to the host.
  if (enclosure.confinement === 'two-users') await chown(inboundFolder, PROGRAM_UID, PROGRAM_UID)
  const relay = await switchboard.admit(place, {
    ...{ socket, mode, inbound: join(inboundFolder, 'peers.sock') },
  })
  return { socket, inboundFolder, relay }
}

/** An instance that the kernel ended because it used too much memory could not say so itself. */
function explained(error: unknown, usage: InstanceUsage, image: VerifiedImage): unknown {
  const isLost = error instanceof LaunchError && error.code === 'STATUS'
  const message = memoryReason(usage, image)
  if (!isLost || message === undefined) return error
  return new LaunchError('MEMORY', message, { cause: error })
}

/** Init sees that its program was ended, or failed, and not that the kernel took a process from it. */
function withMemory(
  end: InstanceEnd | ServedEnd,
  usage: InstanceUsage,
  image: VerifiedImage,
): InstanceEnd | ServedEnd {
  const message = memoryReason(usage, image)
  if (end.outcome !== 'failed' || message === undefined) return end
  const reasons = [...end.failure.reasons, { code: 'MEMORY', message }]
  return { ...end, failure: { ...end.failure, reasons } }
}

function memoryReason(usage: InstanceUsage, { manifest }: VerifiedImage): string | undefined {
  if ((usage.memoryKills ?? 0) === 0) return undefined
  const { memoryMiB } = manifest.resources
  return `the instance used more than the ${memoryMiB} MiB that its image declares`
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
