import { verifyMeasurementFile } from '@cloister/enclave'
import { jobStatementOf, measurementOf, readJobFile, statementOf } from '@cloister/engine/job'
import { jobDigest, type ReleaseTemplate } from '@cloister/kms'
import { readInput } from '../attest/input-file.ts'
import type { Session } from '../session.ts'
import { UsageError } from '../usage-error.ts'
import { wholeNumber } from '../whole-number.ts'
import { readJobTemplateFile } from './policy-file.ts'

/** Flags that say which images, and which jobs of theirs. */
export interface JobFlags {
  readonly job?: string
  readonly jobTemplate?: string
  readonly image?: string
  readonly allowAnyJob?: true
  readonly tee?: string
  readonly measurementFile?: string
  readonly signer?: string
  readonly minimumSvn?: string
}

/** What of a policy's template says which jobs. */
type Jobs = Pick<ReleaseTemplate, 'images' | 'jobDigests' | 'jobTemplate' | 'allowAnyJob'>

/** Which images, and which jobs of theirs, the flags name. @throws UsageError */
export async function jobsOf(session: Session, flags: JobFlags): Promise<Jobs> {
  const { allowAnyJob, job, jobTemplate } = flags
  const stated = await statedMeasurement(flags)
  if (allowAnyJob === true || jobTemplate !== undefined) {
    const images = [{ measurement: await imageAlone(flags, stated) }]
    if (jobTemplate === undefined) return { images, allowAnyJob: true }
    return { images, jobTemplate: await readJobTemplateFile(jobTemplate) }
  }
  if (job === undefined) {
    throw new UsageError('a policy names a job', 'give --job job.yaml')
  }
  const file = await readJobFile(job)
  const pin = await session.pin()
  const statement =
    stated === undefined
      ? await statementOf(file, pin)
      : jobStatementOf(file, { measurement: stated, kms: [pin.identityKey] })
  return {
    images: [{ measurement: statement.measurement }],
    jobDigests: [Buffer.from(jobDigest(statement)).toString('hex')],
  }
}

/** The image that is named beside a family of jobs, or loudly any. */
async function imageAlone(flags: JobFlags, stated: string | undefined): Promise<string> {
  const { allowAnyJob, image, job, jobTemplate } = flags
  const isBoth = allowAnyJob === true && jobTemplate !== undefined
  if ((image === undefined) === (stated === undefined) || job !== undefined || isBoth) {
    throw new UsageError(
      `${allowAnyJob === true ? '--allow-any-job' : '--job-template'} goes with --image or --measurement-file`,
      'name the image, and no other job',
    )
  }
  return stated ?? (await measurementOf(image ?? ''))
}

/** The measurement that a builder's file states; undefined where none is given. */
async function statedMeasurement(flags: JobFlags): Promise<string | undefined> {
  const { measurementFile, minimumSvn, signer, tee } = flags
  if (measurementFile === undefined) return undefined
  if (signer === undefined) {
    throw new UsageError('--measurement-file: anybody may have signed it', 'give --signer MRSIGNER')
  }
  const { kind, measurement } = verifyMeasurementFile(await readInput(measurementFile), {
    mrSigner: signer,
    ...(minimumSvn === undefined
      ? {}
      : { minimumSvn: wholeNumber('--minimum-svn', minimumSvn, 0, 65_535) }),
  })
  if ((kind === 'image') !== (tee === 'sim')) {
    throw new UsageError(
      `${measurementFile}: an enclave of kind ${kind} does not run as --tee ${tee}`,
      'an image runs simulated (sim); what a backend made of it, on SGX (sgx)',
    )
  }
  return measurement
}
