import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes, timingSafeEqual } from 'node:crypto'
import { mkdir, symlink, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { PassThrough } from 'node:stream'
import { loaderFault, ownProcessFault } from '../../image/own-process.ts'
import { launcherAddress } from '../../instance/launcher-address.ts'
import {
  endOf,
  type InstanceEnd,
  requireJobsEnd,
  requireNotAborted,
} from '../../launcher/ending.ts'
import type { LaunchEvent } from '../../launcher/event.ts'
import {
  absolute,
  jobOf,
  requireDatasets,
  requireMemory,
  writeJob,
} from '../../launcher/job-folders.ts'
import type { JobLaunchOptions } from '../../launcher/job-launch-options.ts'
import { readLine } from '../../launcher/read-line.ts'
import { openRelayPort } from '../../launcher/relay.ts'
import { type LoopbackRelay, openLoopbackRelay } from '../../launcher/relay-socket.ts'
import { RunFolder, removeStaleRuns } from '../../launcher/run-folder.ts'
import { passOnSignals } from '../../launcher/signals.ts'
import { BackendError } from '../errors.ts'
import { ROOT } from './template.ts'
import { type VerifiedGramine, verifyGramine } from './verify.ts'

/** A job to run under Gramine. */
export interface GramineJobOptions extends JobLaunchOptions {
  /** What `buildGramine` made. */
  readonly folder: string
  /** Gramine's `libpal.so`. */
  readonly libpal: string
  /** `gramine-sgx` on the PATH, unless told. */
  readonly command?: string
}

const SECRET_BYTES = 16
const SECRET_LINE = 2 * SECRET_BYTES + 1

/** Most connections at a time of the instance's one way back, whoever makes them. */
const MAX_STATUS_CONNECTIONS = 16
/** The same, of its way to the key service. */
const MAX_KMS_CONNECTIONS = 64

/**
 * Runs a job in an SGX enclave under Gramine. What is done here is for whoever runs the job: the
 * folder is verified, so that what was altered is told before anything runs. Nothing depends on it:
 * an enclave that was altered is another one, and a job's files are the host's to write as it likes.
 * @throws BackendError when the folder is not as it was signed, its jobs cannot run, or Gramine is not installed
 * @throws LaunchError when the job does not fit, or the instance was lost
 */
export async function runGramineJob(options: GramineJobOptions): Promise<InstanceEnd> {
  const { folder, libpal, signal, onEvent = () => {} } = options
  const job = jobOf(options)
  requireMemory(job)
  await requireDatasets(job, options)
  const [verified] = await Promise.all([verifyGramine(folder, libpal), removeStaleRuns()])
  const { measurement, image } = verified
  const fault = ownProcessFault(image) ?? (await loaderFault(join(folder, ROOT), image))
  if (fault !== undefined) {
    throw new BackendError('OPTION', `${image.name}: no jobs under Gramine: ${fault}`)
  }
  onEvent({ kind: 'image', measurement, debug: image.identity.debug })
  await options.onVerified?.()
  requireNotAborted(signal)
  const outputs = Object.values(absolute(options.outputs))
  const run = await RunFolder.make(outputs, 0, options.instanceName)
  try {
    return await runIn(run, verified, { ...options, job, onEvent })
  } finally {
    await run.remove()
  }
}

async function runIn(
  run: RunFolder,
  { image }: VerifiedGramine,
  options: GramineJobOptions & { readonly onEvent: (event: LaunchEvent) => void },
): Promise<InstanceEnd> {
  const { pin } = options
  const status = new PassThrough()
  // No name has to be looked up inside: TLS ends there, by the pinned key.
  const kms = await openRelayPort(pin.url, MAX_KMS_CONNECTIONS)
  // Not the run's name, which is the name of a folder that everybody can list.
  const secret = randomBytes(SECRET_BYTES).toString('hex')
  const line = await openStatusPort(secret, status)
  try {
    const reached = { ...pin, url: `https://127.0.0.1:${kms.port}` }
    const jobFolder = await writeJob(run, { job: options.job, pin: reached })
    const address = launcherAddress({ port: line.port, secret })
    await writeFile(join(jobFolder, 'launcher'), address, { mode: 0o600 })
    await layOut(run.path, image.name, options)
    const child = start(run.path, image.name, options)
    const { pid } = child
    const kill = () => killGroup(pid)
    const stop =
      pid === undefined || options.passOnSignals !== true ? () => {} : passOnSignals(pid, kill)
    const notStarted = new BackendError('TOOL_MISSING', 'gramine-sgx does not start')
    try {
      const started = pid === undefined ? Promise.reject(notStarted) : Promise.resolve(pid)
      started.catch(() => {})
      return requireJobsEnd(await endOf({ process: child, status, kill, pid: started }, options))
    } catch (error) {
      throw pid === undefined ? notStarted : error
    } finally {
      stop()
    }
  } finally {
    line.close()
    kms.close()
  }
}

/** Everything by the names that the manifest has, below the folder that Gramine runs in. */
async function layOut(
  path: string,
  name: string,
  { folder, inputs, outputs }: GramineJobOptions,
): Promise<void> {
  for (const file of [ROOT, `${name}.manifest.sgx`, `${name}.sig`]) {
    await symlink(join(resolve(folder), file), join(path, file))
  }
  for (const [kind, folders] of Object.entries({ in: inputs, out: outputs })) {
    await mkdir(join(path, kind))
    for (const [dataset, at] of Object.entries(absolute(folders))) {
      await symlink(at, join(path, kind, dataset))
    }
  }
}

function start(
  cwd: string,
  name: string,
  { command = 'gramine-sgx' }: GramineJobOptions,
): ChildProcess {
  const { PATH = '/usr/local/bin:/usr/bin:/bin' } = process.env
  const stdio = ['ignore', 'pipe', 'pipe'] as const
  // A process group of its own, so that all of it can be ended.
  return spawn(command, [name], { cwd, env: { PATH }, stdio: [...stdio], detached: true })
}

/**
 * Takes what the instance tells; whoever else is on this machine does not know the secret. Where the
 * program has init's place, init connects once more when it has ended: one connection after another.
 */
async function openStatusPort(secret: string, status: PassThrough): Promise<LoopbackRelay> {
  let before: Promise<unknown> = Promise.resolve()
  return await openLoopbackRelay({ maxConnections: MAX_STATUS_CONNECTIONS }, socket => {
    const closed = new Promise(resolve => socket.once('close', resolve))
    socket.on('error', () => socket.destroy())
    readLine(socket, SECRET_LINE, line => {
      if (!isSecret(line, secret)) {
        socket.destroy()
        return
      }
      const earlier = before
      before = closed
      void earlier.then(() => socket.pipe(status, { end: false }))
      // When nobody follows it any more the instance is to end.
      status.once('close', () => socket.destroy())
    })
  })
}

function isSecret(line: string | undefined, secret: string): boolean {
  if (line?.length !== secret.length) return false
  return timingSafeEqual(Buffer.from(line, 'latin1'), Buffer.from(secret, 'latin1'))
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // Nobody is left in the group.
  }
}
