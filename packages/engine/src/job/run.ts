import { mkdir } from 'node:fs/promises'
import type { SimPlatform } from '@cloister/attestation'
import {
  BackendError,
  type ExecutorOptions,
  type ExecutorResult,
  enclaveFileKind,
  type GramineJobOptions,
  type InstanceEnd,
  type LaunchOptions,
  type LaunchResult,
  launch,
  launchExecutor,
  openImage,
  runGramineJob,
  signedMeasurement,
} from '@cloister/enclave/launcher'
import type { JobStatement, KmsPin } from '@cloister/kms'
import { EngineError } from '../errors.ts'
import { QUERY_RUNNER } from '../image/entry.ts'
import { type JobFile, jobStatementOf } from './job-file.ts'

/**
 * The statement of a job file: what is attested when it runs, and what a policy must name.
 * @throws ImageError, SigstructError when the image is not as it was signed
 * @throws BackendError with `OPTION` for an image on which no job runs
 */
export async function statementOf(job: JobFile, pin: KmsPin): Promise<JobStatement> {
  return statementFor(await measurementOf(job.image), job, pin)
}

function statementFor(measurement: string, job: JobFile, pin: KmsPin): JobStatement {
  return jobStatementOf(job, { measurement, kms: [pin.identityKey] })
}

/**
 * The measurement that an image, or a folder made ready for Gramine, was signed for.
 * @throws what {@link statementOf} throws
 */
export async function measurementOf(image: string): Promise<string> {
  switch (await teeOfImage(image)) {
    case 'sim':
      return (await openImage(image)).measurement
    case 'sgx':
      return await signedMeasurement(image)
  }
}

/**
 * What an image's jobs run in: an image folder in a simulated enclave, one made ready for Gramine on
 * SGX.
 * @throws BackendError with `OPTION` for one made ready for Occlum
 */
export async function teeOfImage(image: string): Promise<'sim' | 'sgx'> {
  // What is no image at all is told by whoever opens it.
  const kind = await enclaveFileKind(image).catch(() => 'image' as const)
  if (kind === 'occlum') {
    throw new BackendError('OPTION', `${image}: no job runs under Occlum: see docs/occlum.md`)
  }
  return kind === 'gramine' ? 'sgx' : 'sim'
}

/** What an image runs: whether that is the query runner, and its name and program, for people. */
export async function programOfImage(
  image: string,
): Promise<{ readonly isQueryRunner: boolean; readonly seen: string }> {
  if ((await teeOfImage(image)) === 'sgx') return { isQueryRunner: false, seen: 'SGX' }
  const { name, entry } = (await openImage(image)).manifest
  const program = entry.program.join(' ')
  const isQueryRunner = name === QUERY_RUNNER.name && program === QUERY_RUNNER.program.join(' ')
  return { isQueryRunner, seen: `${name}: ${program}` }
}

/** What {@link runJobFile} needs. */
export interface RunJobOptions
  extends Pick<
    LaunchOptions,
    | 'onEvent'
    | 'onVerified'
    | 'signal'
    | 'passOnSignals'
    | 'stdin'
    | 'stdout'
    | 'stderr'
    | 'withoutSandbox'
    | 'executors'
    | 'instanceName'
    | 'hosts'
  > {
  readonly job: JobFile
  readonly pin: KmsPin
  /** Plays the processor that quotes. */
  readonly platform: SimPlatform
}

/**
 * Runs a job file in a simulated enclave.
 * @throws ImageError, LaunchError
 */
export async function runJobFile(options: RunJobOptions): Promise<LaunchResult> {
  const { job, pin, ...passed } = options
  return await launch({ ...passed, pin, ...(await launchOf(job, pin)) })
}

/** What {@link serveJobFile} needs. */
export interface ServeJobOptions
  extends Pick<
    ExecutorOptions,
    'onEvent' | 'onVerified' | 'signal' | 'platform' | 'driver' | 'hosts' | 'id' | 'untilOver'
  > {
  readonly job: JobFile
  readonly pin: KmsPin
}

/**
 * Has an executor of a job file's run, whose driver another host has, in a simulated enclave.
 * @throws ImageError, LaunchError
 */
export async function serveJobFile(options: ServeJobOptions): Promise<ExecutorResult> {
  const { job, pin, ...passed } = options
  return await launchExecutor({ ...passed, pin, ...(await launchOf(job, pin)) })
}

async function launchOf(job: JobFile, pin: KmsPin) {
  for (const { folder } of Object.values(job.outputs)) await mkdir(folder, { recursive: true })
  const image = await openImage(job.image)
  return {
    image,
    job: statementFor(image.measurement, job, pin),
    inputs: foldersOf(job.inputs),
    outputs: foldersOf(job.outputs),
    hostFolders: job.unprotectedHostFolders ?? {},
  }
}

/** What {@link runJobOnSgx} needs. */
export interface RunOnSgxOptions
  extends Pick<
    GramineJobOptions,
    | 'libpal'
    | 'onEvent'
    | 'onVerified'
    | 'signal'
    | 'passOnSignals'
    | 'stdout'
    | 'stderr'
    | 'instanceName'
  > {
  readonly job: JobFile
  readonly pin: KmsPin
}

/**
 * Runs a job file in an SGX enclave under Gramine.
 * @throws EngineError JOB for queries; BackendError, LaunchError
 */
export async function runJobOnSgx(options: RunOnSgxOptions): Promise<InstanceEnd> {
  const { job, pin, ...passed } = options
  if (job.queries !== undefined) {
    const why = 'tables are read through pipes, which it takes another process to make'
    throw new EngineError('JOB', `no queries under Gramine: ${why}`)
  }
  for (const { folder } of Object.values(job.outputs)) await mkdir(folder, { recursive: true })
  return await runGramineJob({
    ...passed,
    folder: job.image,
    job: await statementOf(job, pin),
    pin,
    inputs: foldersOf(job.inputs),
    outputs: foldersOf(job.outputs),
  })
}

function foldersOf(entries: Readonly<Record<string, { readonly folder: string }>>) {
  return Object.fromEntries(Object.entries(entries).map(([name, { folder }]) => [name, folder]))
}
