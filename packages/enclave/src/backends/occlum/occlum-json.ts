import type { ImageManifest } from '../../image/manifest.ts'
import { BackendError } from '../errors.ts'
import type { OcclumConfig } from './config.ts'

/** How an image runs under Occlum, beside what its own manifest says. */
export interface OcclumOptions {
  /** Threads of the enclave. */
  readonly maxThreads?: number
  /** Whether memory and threads are added on demand (SGX2). */
  readonly edmm?: boolean
  /** MiB for the LibOS itself. */
  readonly kernelHeapMiB?: number
}

const DEFAULT_THREADS = 32
const DEFAULT_KERNEL_HEAP_MIB = 64
const DEFAULT_HEAP_MIB = 32
const NO_ID = { high: '0x0', low: '0x0' }

const mebibytes = (value: number): string => `${value}MB`

/** The root: the image's layer, whose MAC the build fills in, under one that the instance writes. */
const ROOT: OcclumConfig['mount'][number] = {
  target: '/',
  type: 'unionfs',
  options: {
    layers: [
      { target: '/', type: 'sefs', source: './build/mount/__ROOT', options: { MAC: '' } },
      { target: '/', type: 'sefs', source: './run/mount/__ROOT' },
    ],
  },
}

/** Folders that are enclave memory. */
function memoryFolders({ mounts }: ImageManifest): OcclumConfig['mount'] {
  const own = [...(mounts.scratch ?? []), ...(mounts.memory ?? [])].map(({ to }) => to)
  return ['/tmp', ...own].map(target => ({ target, type: 'ramfs' }))
}

/** What is not done for Occlum. @throws BackendError with `OPTION`. */
function assertPossible({ identity, mounts }: ImageManifest): void {
  if (mounts.unprotectedHostFolders !== undefined) {
    throw new BackendError('OPTION', 'Occlum is given no folder of the host: not unprotected, too')
  }
  if (identity.isvFamilyId !== undefined || identity.isvExtProdId !== undefined) {
    throw new BackendError('OPTION', 'family and extended product ids are not set under Occlum yet')
  }
}

/**
 * Writes `Occlum.json` for an image, with Occlum's unsafe defaults closed: debugging only where the
 * definition says so, one entry point, no folder of the host, no environment from outside, and none
 * of its own either, as init gives the program the measured one.
 * @param entryPoint - What the host may start, an absolute path in the image.
 * @throws BackendError with `OPTION`.
 */
export function occlumConfig(
  manifest: ImageManifest,
  entryPoint: string,
  options: OcclumOptions = {},
): OcclumConfig {
  const { identity, resources } = manifest
  assertPossible(manifest)
  const maxThreads = options.maxThreads ?? resources.threads ?? DEFAULT_THREADS
  const kernelHeapMiB = options.kernelHeapMiB ?? resources.kernelHeapMiB ?? DEFAULT_KERNEL_HEAP_MIB
  const isPossible = [maxThreads, kernelHeapMiB].every(
    value => Number.isInteger(value) && value > 0,
  )
  if (!isPossible || maxThreads > 4096) {
    const message = `wanted threads from 1 to 4096, seen ${maxThreads}; MiB ${kernelHeapMiB}`
    throw new BackendError('OPTION', message)
  }
  return {
    resource_limits: {
      kernel_space_heap_size: mebibytes(kernelHeapMiB),
      kernel_space_stack_size: '1MB',
      user_space_size: mebibytes(resources.memoryMiB),
      max_num_of_threads: maxThreads,
    },
    process: {
      default_stack_size: '8MB',
      default_heap_size: mebibytes(resources.heapMiB ?? DEFAULT_HEAP_MIB),
      default_mmap_size: mebibytes(Math.ceil(resources.memoryMiB / 2)),
    },
    entry_points: [entryPoint],
    env: { default: [], untrusted: [] },
    metadata: {
      product_id: identity.isvProdId,
      version_number: identity.isvSvn,
      debuggable: identity.debug,
      disable_log: !identity.debug,
      enable_kss: false,
      family_id: NO_ID,
      ext_prod_id: NO_ID,
    },
    feature: {
      amx: 0,
      pkru: 0,
      io_uring: 0,
      enable_edmm: options.edmm === true,
      enable_posix_shm: false,
    },
    mount: [ROOT, ...memoryFolders(manifest)],
  }
}
