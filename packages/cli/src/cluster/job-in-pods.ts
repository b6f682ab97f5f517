import { dirname, relative, resolve, sep } from 'node:path'
import { JOB_FOLDER } from '@cloister/cluster'
import { type JobFile, movePaths, readJobFile } from '@cloister/engine/job'
import { stringify } from 'yaml'
import { UsageError } from '../usage-error.ts'

/** A job file as pods read it. */
export interface JobInPods {
  readonly job: JobFile
  /** YAML. Its paths are below the folder that the claim is mounted at; its digest is the same. */
  readonly text: string
  /** Where receipts will be, in the claim. */
  readonly receipts: readonly string[]
}

/**
 * Reads a job file and names its folders as they are in pods: the job file's own folder is the root
 * of the claim.
 * @throws EngineError JOB; UsageError for what does not lie in that folder
 */
export async function jobInPods(file: string): Promise<JobInPods> {
  const job = await readJobFile(file)
  if (job.unprotectedHostFolders !== undefined) {
    const message = `${file}: unprotectedHostFolders: pods have no folders of a machine`
    throw new UsageError(message, 'leave them out, or run the job here')
  }
  const base = dirname(resolve(file))
  const text = stringify(movePaths(job, path => `${JOB_FOLDER}/${within(base, path, file)}`))
  const receipts = Object.values(job.outputs).map(
    ({ folder }) => `${within(base, folder, file)}/receipt.jws`,
  )
  return { job, text, receipts }
}

function within(base: string, path: string, file: string): string {
  const inside = relative(base, path).split(sep).join('/')
  if (inside !== '' && inside !== '..' && !inside.startsWith('../')) return inside
  throw new UsageError(
    `${file}: ${path} is not in the folder of the job file, which is what pods have`,
    'put it there, in the claim too, and name it by a relative path',
  )
}
