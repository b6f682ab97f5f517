import { mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import type { Writable } from 'node:stream'
import type { SimPlatform } from '@cloister/attestation'
import {
  encodeJobStatement,
  type JobStatement,
  type KmsPin,
  parseJobStatement,
} from '@cloister/kms'
import { canonicalJsonBytes } from '@cloister/sealed'
import { mountTargets } from '../definition/mounts.ts'
import { type VerifiedImage, verifyImage } from '../image/verify.ts'
import { endOf, type InstanceEnd, requireNotAborted } from './ending.ts'
import { LaunchError } from './errors.ts'
import type { LaunchEvent } from './event.ts'
import { startPlain } from './plain.ts'
import { answerQuotes } from './quoting.ts'
import { openRelay } from './relay.ts'
import type { Confinement } from './sandbox.ts'
import { findBubblewrap, startSandboxed, strongestConfinement } from './start.ts'

const DEFAULT_SCRATCH_MIB = 1024

/** What {@link launch} needs. */
export interface LaunchOptions {
  readonly imageFolder: string
  readonly job: JobStatement
  readonly pin: KmsPin
  /** Folder of each input dataset, by the job's names. */
  readonly inputs: Readonly<Record<string, string>>
  /** Folder of each output dataset, by the job's names; it must exist. */
  readonly outputs: Readonly<Record<string, string>>
  /** Plays the processor that quotes. */
  readonly platform: SimPlatform
  /** Most that each memory-backed folder of the instance may hold; 1024 unless told. */
  readonly scratchMiB?: number
  readonly onEvent?: (event: LaunchEvent) => void
  /** Ends the instance. */
  readonly signal?: AbortSignal
  /** Where the program's output goes; this process's own unless told. */
  readonly stdout?: Writable
  readonly stderr?: Writable
  /** Starts a plain process even where there is a sandbox. */
  readonly withoutIsolation?: boolean
}

/** How an instance ended. */
export type LaunchResult = InstanceEnd & {
  readonly isolation: 'bubblewrap' | 'none'
  readonly confinement: Confinement
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
  await requireFolders('input', job.inputs, options.inputs)
  await requireFolders('output', job.outputs, options.outputs)
  const image = await verifyImage(options.imageFolder)
  requireSupported(image)
  const { debug } = image.manifest.identity
  onEvent({ kind: 'image', measurement: image.measurement, debug })
  requireNotAborted(signal)
  const folder = await mkdtemp(join(tmpdir(), 'cloister-instance-'))
  try {
    return await launchIn(folder, { ...options, job, onEvent }, image)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** What an image declares and would not get is said, instead of its program finding out. */
function requireSupported({ manifest }: VerifiedImage): void {
  const wanted = manifest.network === 'none' ? mountTargets(manifest.mounts)[0] : 'network'
  if (wanted === undefined) return
  throw new LaunchError(
    'UNSUPPORTED',
    `the image wants ${wanted}, which this launcher does not give`,
  )
}

async function launchIn(
  folder: string,
  options: LaunchOptions & { readonly onEvent: (event: LaunchEvent) => void },
  image: VerifiedImage,
): Promise<LaunchResult> {
  const { onEvent, platform } = options
  const bubblewrap = options.withoutIsolation === true ? undefined : findBubblewrap()
  const confinement = bubblewrap === undefined ? 'none' : await strongestConfinement(bubblewrap)
  onEvent({ kind: 'isolation', confinement, message: MESSAGES[confinement] })
  const jobFolder = await writeJob(folder, options, image)
  const kmsSocket = join(folder, 'kms.sock')
  // Init is root of its namespace and needs no permission; the program is to have none.
  const mode = confinement === 'two-users' ? 0o000 : 0o600
  const inputs = absolute(options.inputs)
  const outputs = absolute(options.outputs)
  const relay = await openRelay(kmsSocket, options.pin.url, mode)
  try {
    const started =
      bubblewrap === undefined || confinement === 'none'
        ? await startPlain({ folder, jobFolder, kmsSocket, image, inputs, outputs })
        : await startSandboxed(bubblewrap, {
            confinement,
            rootFolder: image.root,
            jobFolder,
            kmsSocket,
            inputs,
            outputs,
            scratchMiB: options.scratchMiB ?? DEFAULT_SCRATCH_MIB,
            command: image.manifest.entry.init,
          })
    const enclave = {
      mrEnclave: Buffer.from(image.measurement, 'hex'),
      mrSigner: Buffer.from(image.mrSigner, 'hex'),
      ...image.manifest.identity,
    }
    answerQuotes(started.quotes, platform, enclave, () => onEvent({ kind: 'quoted' }))
    const isolation = confinement === 'none' ? 'none' : 'bubblewrap'
    return { isolation, confinement, ...(await endOf(started, options)) }
  } finally {
    relay.close()
  }
}

const MESSAGES: Readonly<Record<Confinement, string>> = {
  'two-users': 'bubblewrap; program and init are different users',
  'one-user': 'bubblewrap; program and init are the same user',
  none: 'no isolation',
}

function jobOf({ job: value, pin }: LaunchOptions): JobStatement {
  try {
    const job = parseJobStatement(value)
    if (job.kms.includes(pin.identityKey)) return job
  } catch (cause) {
    throw new LaunchError('JOB', cause instanceof Error ? cause.message : 'no job', { cause })
  }
  throw new LaunchError('JOB', `the job does not name the key service ${pin.kmsId}`)
}

async function requireFolders(
  what: 'input' | 'output',
  wanted: readonly { readonly name: string }[],
  folders: Readonly<Record<string, string>>,
): Promise<void> {
  const names = wanted.map(({ name }) => name)
  const odd =
    names.find(name => folders[name] === undefined) ??
    Object.keys(folders).find(name => !names.includes(name))
  if (odd !== undefined) {
    const list = names.join(', ') || 'none'
    throw new LaunchError('FOLDER', `${what} folders: the job names ${list}; see "${odd}"`)
  }
  for (const [name, path] of Object.entries(folders)) {
    const found = await stat(path).catch(() => undefined)
    if (!found?.isDirectory()) {
      throw new LaunchError('FOLDER', `${what} ${name}: wanted a folder at ${path}`)
    }
  }
}

async function writeJob(
  folder: string,
  { job, pin }: LaunchOptions,
  image: VerifiedImage,
): Promise<string> {
  const jobFolder = join(folder, 'job')
  await mkdir(jobFolder)
  await writeFile(join(jobFolder, 'job.json'), encodeJobStatement(job))
  await writeFile(join(jobFolder, 'kms.json'), JSON.stringify(pin))
  await writeFile(join(jobFolder, 'manifest.json'), canonicalJsonBytes(image.manifest))
  return jobFolder
}

function absolute(folders: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(folders).map(([name, path]) => [name, resolve(path)]))
}
