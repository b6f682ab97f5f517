import { join } from 'node:path'

/** Descriptor on which an instance asks for quotes; the launcher answers. */
export const QUOTE_FD = 3

/** Descriptor on which an instance tells the launcher how it stands. */
export const STATUS_FD = 4

/** Bytes of report data in a quote request. */
export const REPORT_DATA_BYTES = 64

/** The user that a program runs as, where init may choose. */
export const PROGRAM_UID = 65534

/** Where an instance finds its things: under `/` in a sandbox, under a folder without one. */
export interface InstanceLayout {
  /** The image's tree. */
  readonly rootFolder: string
  /** The canonical job statement. */
  readonly jobFile: string
  /** The pin of the key service. */
  readonly pinFile: string
  /** The image's manifest. */
  readonly manifestFile: string
  /** The instance's name among those of its launcher: 16 hexadecimal digits. */
  readonly nameFile: string
  /** Where a launcher listens that gave no descriptors, as `launcherAddress` writes it. */
  readonly launcherFile: string
  /** Socket that leads to the key service. */
  readonly kmsSocket: string
  /** Socket that leads to the hosts that the image may connect to. */
  readonly networkSocket: string
  /** The instance's place among those of its job, where it is not alone. */
  readonly placeFile: string
  /** Socket that leads to the other instances of the run. */
  readonly peersSocket: string
  /** Socket at which the other instances arrive; init makes it. */
  readonly inboundSocket: string
  /** Socket at which a program of interface `keys` asks for keys. */
  readonly brokerSocket: string
  /** What init leaves for the init that comes after the program; in memory, like all below `run`. */
  readonly leftFolder: string
  /** Scratch space, gone with the instance. */
  readonly scratchFolder: string
  /** Folder of an input dataset, read-only. */
  inputFolder(name: string): string
  /** Folder of an output dataset. */
  outputFolder(name: string): string
  /** Where one of the image's mounts is. */
  mountFolder(to: string): string
}

/** The layout below a base folder. */
export function layoutBelow(base: string): InstanceLayout {
  const isShutIn = base === '/'
  return {
    rootFolder: isShutIn ? '/' : join(base, 'root'),
    jobFile: join(base, 'job', 'job.json'),
    pinFile: join(base, 'job', 'kms.json'),
    manifestFile: join(base, 'job', 'manifest.json'),
    nameFile: join(base, 'job', 'name'),
    launcherFile: join(base, 'job', 'launcher'),
    kmsSocket: join(base, 'run', 'kms.sock'),
    networkSocket: join(base, 'run', 'network.sock'),
    placeFile: join(base, 'job', 'place.json'),
    peersSocket: join(base, 'run', 'peers.sock'),
    inboundSocket: join(base, 'run', 'inbound', 'peers.sock'),
    brokerSocket: join(base, 'run', 'keys.sock'),
    leftFolder: join(base, 'run', 'left'),
    scratchFolder: join(base, 'tmp'),
    inputFolder: name => join(base, 'in', name),
    outputFolder: name => join(base, 'out', name),
    mountFolder: to => (isShutIn ? to : join(base, 'mounts', to)),
  }
}

/** Folder in an output's folder that holds what is not whole yet. */
export function unfinishedFolder(outputFolder: string, instanceName: string): string {
  return join(outputFolder, `.unfinished-${instanceName}`)
}

/** A name for an instance, as {@link InstanceLayout.nameFile} holds it. */
export const INSTANCE_NAME = /^[0-9a-f]{16}$/
