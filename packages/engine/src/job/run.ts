import { mkdir } from 'node:fs/promises'
import type { SimPlatform } from '@cloister/attestation'
import {
  type LaunchOptions,
  type LaunchResult,
  launch,
  type OpenedImage,
  openImage,
} from '@cloister/enclave/launcher'
import type { JobStatement, KmsPin } from '@cloister/kms'
import { type JobFile, jobStatementOf } from './job-file.ts'

/**
 * The statement of a job file: what is attested when it runs, and what a policy must name.
 * @throws ImageError when the image is not as it was signed
 */
export async function statementOf(job: JobFile, pin: KmsPin): Promise<JobStatement> {
  return statementFor(await openImage(job.image), job, pin)
}

function statementFor({ measurement }: OpenedImage, job: JobFile, pin: KmsPin): JobStatement {
  return jobStatementOf(job, { measurement, kms: [pin.identityKey] })
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
  const { job, pin, platform, ...passed } = options
  for (const { folder } of Object.values(job.outputs)) await mkdir(folder, { recursive: true })
  const image = await openImage(job.image)
  return await launch({
    ...passed,
    image,
    job: statementFor(image, job, pin),
    pin,
    platform,
    inputs: foldersOf(job.inputs),
    outputs: foldersOf(job.outputs),
    hostFolders: job.unprotectedHostFolders ?? {},
  })
}

function foldersOf(entries: Readonly<Record<string, { readonly folder: string }>>) {
  return Object.fromEntries(Object.entries(entries).map(([name, { folder }]) => [name, folder]))
}
