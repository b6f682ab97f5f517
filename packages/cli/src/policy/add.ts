import { openImage } from '@cloister/enclave'
import { readJobFile, statementOf } from '@cloister/engine'
import {
  jobDigest,
  type KmsClient,
  type NewPolicy,
  type PolicyDescription,
  type ReleaseTemplate,
} from '@cloister/kms'
import type { Command } from 'commander'
import { instantOf } from '../attest/instant.ts'
import { keyIdOf } from '../key-name.ts'
import type { Printer } from '../output/printer.ts'
import { type GlobalFlags, Session } from '../session.ts'
import { UsageError } from '../usage-error.ts'
import { readJobTemplateFile, readReleasePolicyFile } from './policy-file.ts'

interface AddFlags extends GlobalFlags {
  readonly file?: string
  readonly key?: string
  readonly job?: string
  readonly jobTemplate?: string
  readonly image?: string
  readonly allowAnyJob?: true
  readonly tee?: string
  readonly dataset?: readonly string[]
  readonly notBefore?: string
  readonly notAfter?: string
  readonly maxReleases?: string
}

/** Adds the release policy that a command's flags ask for. @throws UsageError, KmsError */
export async function addReleasePolicy(
  command: Command,
): Promise<{ readonly added: PolicyDescription; readonly printer: Printer }> {
  const flags = command.optsWithGlobals<AddFlags>()
  const session = new Session(flags)
  const conditions = flags.file === undefined ? await conditionsOf(session, flags) : undefined
  const added = await session.withClient(async client => {
    const policy =
      conditions === undefined
        ? await policyOfFile(client, flags)
        : { template: { ...conditions, keyId: await keyIdOf(client, keyFlag(flags)) } }
    return await client.addPolicy(policy)
  })
  const isAny = flags.allowAnyJob === true || Object(added.template ?? {})['allowAnyJob'] === true
  if (isAny) session.printer.note('ANY JOB: the image answers whatever its host asks of it')
  return { added, printer: session.printer }
}

/** A policy that a file says; `--key` says the key where the file leaves it out. */
async function policyOfFile(client: KmsClient, flags: AddFlags): Promise<NewPolicy> {
  const { allowAnyJob, file = '', key } = flags
  const extra = Object.keys(flags).find(name => FLAGS_OF_TEMPLATES.includes(name))
  if (extra !== undefined) {
    throw new UsageError('--file says all of a policy', `put it into the file: ${extra}`)
  }
  const read = await readReleasePolicyFile(file)
  if ('cedar' in read) {
    return { cedar: read.cedar, ...(allowAnyJob === true ? { allowAnyJob } : {}) }
  }
  const keyId = key === undefined ? {} : { keyId: await keyIdOf(client, key) }
  // Whatever it says, the key service checks every member of it.
  return { template: { ...read.template, ...keyId } as ReleaseTemplate }
}

const FLAGS_OF_TEMPLATES = [
  ...['job', 'jobTemplate', 'image', 'tee', 'dataset'],
  ...['notBefore', 'notAfter', 'maxReleases'],
]

async function conditionsOf(
  session: Session,
  flags: AddFlags,
): Promise<Omit<ReleaseTemplate, 'keyId'>> {
  keyFlag(flags)
  const { dataset, maxReleases, notAfter, notBefore } = flags
  return {
    ...(await jobsOf(session, flags)),
    tees: [teeFrom(flags.tee)],
    tcbStatuses: ['UpToDate'],
    ...(dataset === undefined ? {} : { datasets: [...dataset] }),
    ...(notBefore === undefined ? {} : { notBefore: instantOf(notBefore).toISOString() }),
    ...(notAfter === undefined ? {} : { notAfter: instantOf(notAfter).toISOString() }),
    ...(maxReleases === undefined ? {} : { maxReleases: countFrom(maxReleases) }),
  }
}

type Jobs = Pick<ReleaseTemplate, 'images' | 'jobDigests' | 'jobTemplate' | 'allowAnyJob'>

/** Which images, and which jobs of theirs. */
async function jobsOf(session: Session, flags: AddFlags): Promise<Jobs> {
  const { allowAnyJob, image, job, jobTemplate } = flags
  if (allowAnyJob === true || jobTemplate !== undefined) {
    const flag = allowAnyJob === true ? '--allow-any-job' : '--job-template'
    if (image === undefined || job !== undefined || (allowAnyJob && jobTemplate !== undefined)) {
      throw new UsageError(`${flag} goes with --image`, 'name the image, and no other job')
    }
    const images = [{ measurement: (await openImage(image)).measurement }]
    if (jobTemplate === undefined) return { images, allowAnyJob: true }
    return { images, jobTemplate: await readJobTemplateFile(jobTemplate) }
  }
  if (job === undefined) {
    throw new UsageError('a policy names a job', 'give --job job.yaml')
  }
  const statement = await statementOf(await readJobFile(job), await session.pin())
  return {
    images: [{ measurement: statement.measurement }],
    jobDigests: [Buffer.from(jobDigest(statement)).toString('hex')],
  }
}

function keyFlag({ key }: AddFlags): string {
  if (key !== undefined) return key
  throw new UsageError('a policy is for a key', 'give --key, the id or alias of a CMK')
}

function teeFrom(text: string | undefined): ReleaseTemplate['tees'][number] {
  if (text === 'sgx' || text === 'tdx' || text === 'sev-snp' || text === 'sim') return text
  const seen = text === undefined ? 'none' : text
  throw new UsageError(`--tee: wanted sgx, tdx, sev-snp or sim, saw ${seen}`, 'give one of them')
}

function countFrom(text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text)
  throw new UsageError(`--max-releases: saw ${text}`, 'give a whole number from 1 on')
}
