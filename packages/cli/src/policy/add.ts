import type { KmsClient, NewPolicy, PolicyDescription, ReleaseTemplate } from '@cloister/kms'
import type { Command } from 'commander'
import { instantOf } from '../attest/instant.ts'
import { keyIdOf } from '../key-name.ts'
import type { Printer } from '../output/printer.ts'
import { type GlobalFlags, Session } from '../session.ts'
import { UsageError } from '../usage-error.ts'
import { wholeNumber } from '../whole-number.ts'
import { type JobFlags, jobsOf } from './jobs.ts'
import { readReleasePolicyFile } from './policy-file.ts'

interface AddFlags extends GlobalFlags, JobFlags {
  readonly file?: string
  readonly key?: string
  readonly dataset?: readonly string[]
  readonly notBefore?: string
  readonly notAfter?: string
  readonly maxReleases?: string
}

const MAX_RELEASES = 2 ** 31 - 1

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
  ...['job', 'jobTemplate', 'image', 'measurementFile', 'signer', 'minimumSvn', 'tee', 'dataset'],
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
    ...(maxReleases === undefined
      ? {}
      : { maxReleases: wholeNumber('--max-releases', maxReleases, 1, MAX_RELEASES) }),
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
