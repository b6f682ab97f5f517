import { mkdir, stat, writeFile } from 'node:fs/promises'
import { totalmem } from 'node:os'
import { join, resolve } from 'node:path'
import {
  encodeJobStatement,
  type JobStatement,
  type KmsPin,
  parseJobStatement,
} from '@cloister/kms'
import { encodePlace, type Place } from '../instance/together.ts'
import { LaunchError } from './errors.ts'
import type { RunFolder } from './run-folder.ts'

const MIB = 1024 * 1024

/** A job, its key service, and where its datasets are. */
export interface JobOfLaunch {
  readonly job: JobStatement
  readonly pin: KmsPin
  /** Folder of each input dataset, by the job's names. */
  readonly inputs: Readonly<Record<string, string>>
  /** Folder of each output dataset, by the job's names; it must exist. */
  readonly outputs: Readonly<Record<string, string>>
}

/** The job of a launch, for the key service of its pin. @throws LaunchError JOB */
export function jobOf({ job: value, pin }: Pick<JobOfLaunch, 'job' | 'pin'>): JobStatement {
  try {
    const job = parseJobStatement(value)
    if (job.kms.includes(pin.identityKey)) return job
  } catch (cause) {
    throw new LaunchError('JOB', cause instanceof Error ? cause.message : 'no job', { cause })
  }
  throw new LaunchError('JOB', `the job does not name the key service ${pin.kmsId}`)
}

/** What a job asks for and cannot have is said, instead of the system running out of it. @throws LaunchError MEMORY */
export function requireMemory({ resources }: JobStatement): void {
  const here = Math.floor(totalmem() / MIB)
  if (resources.memoryMiB <= here) return
  throw new LaunchError(
    'MEMORY',
    `the job asks for ${resources.memoryMiB} MiB of memory; this machine has ${here}`,
  )
}

/** Every dataset of a job has a folder, and there is no other. @throws LaunchError FOLDER */
export async function requireDatasets(
  job: JobStatement,
  { inputs, outputs }: Pick<JobOfLaunch, 'inputs' | 'outputs'>,
): Promise<void> {
  await requireFolders('input', job.inputs, inputs)
  await requireFolders('output', job.outputs, outputs)
}

/**
 * Compares folders that were given with the names that they are wanted for.
 * @throws LaunchError FOLDER
 */
export async function requireFolders(
  what: 'input' | 'output' | 'host',
  wanted: readonly { readonly name: string }[],
  folders: Readonly<Record<string, string>>,
): Promise<void> {
  const names = wanted.map(({ name }) => name)
  const odd =
    names.find(name => folders[name] === undefined) ??
    Object.keys(folders).find(name => !names.includes(name))
  if (odd !== undefined) {
    const list = names.join(', ') || 'none'
    throw new LaunchError('FOLDER', `${what} folders: wanted ${list}; see "${odd}"`)
  }
  for (const [name, path] of Object.entries(folders)) {
    const found = await stat(path).catch(() => undefined)
    if (!found?.isDirectory()) {
      throw new LaunchError('FOLDER', `${what} ${name}: wanted a folder at ${path}`)
    }
  }
}

/** Writes what init reads of a job, and gives the folder it is in. */
export async function writeJob(
  folder: RunFolder,
  { job, pin, place }: Pick<JobOfLaunch, 'job' | 'pin'> & { readonly place?: Place | undefined },
): Promise<string> {
  const jobFolder = join(folder.path, 'job')
  await mkdir(jobFolder)
  await writeFile(join(jobFolder, 'job.json'), encodeJobStatement(job))
  await writeFile(join(jobFolder, 'kms.json'), JSON.stringify(pin))
  await writeFile(join(jobFolder, 'name'), folder.name)
  if (place !== undefined) await writeFile(join(jobFolder, 'place.json'), encodePlace(place))
  return jobFolder
}

/** Folders by their absolute paths. */
export function absolute(
  folders: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(folders).map(([name, path]) => [name, resolve(path)]))
}
