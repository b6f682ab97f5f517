import { once } from 'node:events'
import { chmod, mkdir, mkdtemp, rm, stat, symlink, writeFile } from 'node:fs/promises'
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
import { type VerifiedImage, verifyImage } from '../image/verify.ts'
import type { InstanceFailure } from '../instance/failure.ts'
import { FrameReader } from '../instance/frame.ts'
import { type InstanceStatus, parseStatus, type Step } from '../instance/status.ts'
import { LaunchError } from './errors.ts'
import { answerQuotes } from './quoting.ts'
import { openRelay } from './relay.ts'
import type { Confinement } from './sandbox.ts'
import {
  findBubblewrap,
  type StartedInstance,
  startSandboxed,
  startWithoutIsolation,
  strongestConfinement,
} from './start.ts'

const DEFAULT_SCRATCH_MIB = 1024

/** What happens on the way, for whoever watches. Nothing in it is proof of anything. */
export type LaunchEvent =
  | { readonly kind: 'image'; readonly measurement: string; readonly debug: boolean }
  | { readonly kind: 'isolation'; readonly confinement: Confinement; readonly message: string }
  | { readonly kind: 'started'; readonly pid: number }
  | { readonly kind: 'quoted' }
  | { readonly kind: 'step'; readonly step: Step }
  | { readonly kind: 'warning'; readonly code: string; readonly message: string }

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
export type LaunchResult = {
  readonly isolation: 'bubblewrap' | 'none'
  readonly confinement: Confinement
  /** 0; the program's own; 128 and the signal's number; or 70 when init refused or gave up. */
  readonly exitCode: number
} & (
  | {
      readonly outcome: 'completed'
      /** Compact JWS; a copy lies in each output's folder. */
      readonly receipt: string
    }
  | {
      readonly outcome: 'failed'
      readonly failure: InstanceFailure
      /** Signal that ended the program, if one did. */
      readonly signal: string | null
    }
)

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
  const relay = await openRelay(kmsSocket, options.pin.url, mode)
  try {
    const started =
      bubblewrap === undefined || confinement === 'none'
        ? await startPlain(folder, jobFolder, options, image)
        : await startSandboxed(bubblewrap, {
            confinement,
            rootFolder: image.root,
            jobFolder,
            kmsSocket,
            inputs: absolute(options.inputs),
            outputs: absolute(options.outputs),
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

/** Without a sandbox the instance's things are links below one folder. */
async function startPlain(
  folder: string,
  jobFolder: string,
  options: LaunchOptions,
  image: VerifiedImage,
): Promise<StartedInstance> {
  const base = join(folder, 'instance')
  for (const name of ['in', 'out', 'run', 'tmp']) {
    await mkdir(join(base, name), { recursive: true, mode: 0o700 })
  }
  await symlink(image.root, join(base, 'root'))
  await symlink(jobFolder, join(base, 'job'))
  await symlink(join(folder, 'kms.sock'), join(base, 'run', 'kms.sock'))
  const links = { in: absolute(options.inputs), out: absolute(options.outputs) }
  for (const [kind, folders] of Object.entries(links)) {
    for (const [name, path] of Object.entries(folders)) {
      await symlink(path, join(base, kind, name))
    }
  }
  await chmod(base, 0o700)
  const paths = new Set(image.manifest.files.map(({ path }) => `/${path}`))
  const command = image.manifest.entry.init.map(argument =>
    paths.has(argument) ? join(image.root, argument) : argument,
  )
  return startWithoutIsolation([...command, base], base)
}

function absolute(folders: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(folders).map(([name, path]) => [name, resolve(path)]))
}

/** Ends of an instance, without how it was shut in. */
type InstanceEnd =
  | { readonly outcome: 'completed'; readonly receipt: string; readonly exitCode: number }
  | {
      readonly outcome: 'failed'
      readonly failure: InstanceFailure
      readonly signal: string | null
      readonly exitCode: number
    }

async function endOf(
  started: StartedInstance,
  options: LaunchOptions & { readonly onEvent: (event: LaunchEvent) => void },
): Promise<InstanceEnd> {
  const { onEvent, signal } = options
  const { process: child } = started
  child.stdout?.pipe(options.stdout ?? process.stdout, { end: false })
  const complaints = collect(child.stderr)
  child.stderr?.pipe(options.stderr ?? process.stderr, { end: false })
  const abort = () => started.kill()
  signal?.addEventListener('abort', abort, { once: true })
  let last: InstanceStatus | undefined
  readStatus(started, status => {
    if (status.kind === 'step' || status.kind === 'warning') onEvent(status)
    else last = status
  })
  started.pid.then(
    pid => onEvent({ kind: 'started', pid }),
    () => {},
  )
  try {
    if (signal?.aborted) abort()
    // Output that nobody closes any more must not keep the end from being seen.
    child.once('exit', () => started.kill())
    const [code, killedBy] = (await once(child, 'close')) as [number | null, string | null]
    requireNotAborted(signal)
    if (last?.kind === 'done' && code === 0) {
      return { outcome: 'completed', receipt: last.receipt, exitCode: 0 }
    }
    if (last?.kind === 'failed') {
      const { failure, exitCode } = last
      return { outcome: 'failed', failure, signal: last.signal, exitCode }
    }
    const how = killedBy === null ? `with code ${code}` : `by ${killedBy}`
    const said = complaints().trim()
    const detail = said === '' ? '' : `; it said: ${said}`
    throw new LaunchError('STATUS', `the instance ended ${how} and did not say why${detail}`)
  } finally {
    signal?.removeEventListener('abort', abort)
    started.kill()
    started.quotes.destroy()
    started.status.destroy()
  }
}

/** Reads what the instance tells; a message that is none is passed over. */
function readStatus({ status }: StartedInstance, onStatus: (status: InstanceStatus) => void): void {
  const reader = new FrameReader()
  status.on('data', (bytes: Buffer) => {
    try {
      for (const message of reader.push(bytes)) {
        const parsed = parseStatus(message)
        if (parsed !== undefined) onStatus(parsed)
      }
    } catch {
      status.destroy()
    }
  })
  status.on('error', () => {})
}

const MAX_COMPLAINTS = 2000

/** The first of what an instance writes to its error output, for when it says nothing else. */
function collect(stream: NodeJS.ReadableStream | null): () => string {
  let text = ''
  stream?.on('data', (bytes: Buffer) => {
    if (text.length < MAX_COMPLAINTS) text += bytes.toString('utf8')
  })
  return () => text.slice(0, MAX_COMPLAINTS)
}

function requireNotAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new LaunchError('ABORTED', 'the launch was called off')
}
