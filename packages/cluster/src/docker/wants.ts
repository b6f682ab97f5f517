import { statSync } from 'node:fs'
import { openImage } from '@cloister/enclave/launcher'
import { teeOfImage } from '@cloister/engine/job'
import { LAUNCHER_MIB } from '../image.ts'
import type { ContainerPlan, Mount } from './container.ts'
import { ContainerError } from './errors.ts'

/** What a container must have for an image's jobs. */
export interface Wants
  extends Pick<
    ContainerPlan,
    'inside' | 'memoryMiB' | 'processes' | 'devices' | 'groups' | 'hasInput'
  > {
  /** Whether the program connects to hosts. */
  readonly hasNetwork: boolean
  /** Sockets of the host. */
  readonly mounts: readonly Mount[]
  readonly writableHostFolders: readonly string[]
}

/** For the launcher, beside what the image declares. */
const LAUNCHER_PROCESSES = 256
const DEFAULT_THREADS = 1024
const SGX_PROCESSES = 8192

/** @see Linux, Documentation/arch/x86/sgx.rst; Intel's aesmd */
const SGX_DEVICES = ['/dev/sgx_enclave', '/dev/sgx_provision'] as const
const AESM_SOCKET = '/var/run/aesmd/aesm.socket'

/**
 * What a container must have for an image's jobs, as the image says.
 * @throws ImageError, BackendError when it is none; ContainerError DEVICE
 */
export async function wantsOf(image: string, withoutSandbox: boolean): Promise<Wants> {
  if ((await teeOfImage(image)) === 'sgx') return sgxWants()
  const { manifest } = await openImage(image)
  const { memoryMiB, threads = DEFAULT_THREADS } = manifest.resources
  return {
    inside: withoutSandbox ? 'plain' : 'sandbox',
    memoryMiB: memoryMiB + LAUNCHER_MIB,
    processes: threads + LAUNCHER_PROCESSES,
    hasNetwork: manifest.network !== 'none',
    hasInput: manifest.entry.standardInput === true,
    writableHostFolders: (manifest.mounts.unprotectedHostFolders ?? []).flatMap(
      ({ name, writable }) => (writable === true ? [name] : []),
    ),
    ...{ devices: [], groups: [], mounts: [] },
  }
}

/** The devices, the group that may use them, and who quotes. @throws ContainerError DEVICE */
export function sgxWants(
  devices: readonly string[] = SGX_DEVICES,
  aesmSocket: string = AESM_SOCKET,
): Wants {
  const found = [...devices, aesmSocket].map(path => ({
    path,
    stats: statSync(path, { throwIfNoEntry: false }),
  }))
  const absent = found.filter(({ stats }) => stats === undefined).map(({ path }) => path)
  if (absent.length > 0) {
    throw new ContainerError(
      'DEVICE',
      `the image is for SGX; this machine has no ${absent.join(', ')}`,
    )
  }
  const groups = found.flatMap(({ path, stats }) =>
    devices.includes(path) && stats !== undefined && stats.gid !== 0 ? [stats.gid] : [],
  )
  return {
    ...{ inside: 'sgx', memoryMiB: undefined, processes: SGX_PROCESSES, devices },
    groups: [...new Set(groups)],
    // An image for Gramine says nothing of its network that a container could grant.
    ...{ hasNetwork: false, hasInput: false, writableHostFolders: [] },
    mounts: [{ source: aesmSocket, target: aesmSocket, isWritable: true }],
  }
}
