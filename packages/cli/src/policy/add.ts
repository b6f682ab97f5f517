import { openImage } from '@cloister/enclave'
import { readJobFile, statementOf } from '@cloister/engine'
import { jobDigest, type NewPolicy, type PolicyDescription } from '@cloister/kms'
import type { Command } from 'commander'
import { keyIdOf } from '../key-name.ts'
import type { Printer } from '../output/printer.ts'
import { type GlobalFlags, Session } from '../session.ts'
import { UsageError } from '../usage-error.ts'

interface AddFlags extends GlobalFlags {
  readonly key: string
  readonly job?: string
  readonly image?: string
  readonly allowAnyJob?: true
  readonly tee: string
}

/** Adds the release policy that a command's flags ask for. @throws UsageError, KmsError */
export async function addReleasePolicy(
  command: Command,
): Promise<{ readonly added: PolicyDescription; readonly printer: Printer }> {
  const flags = command.optsWithGlobals<AddFlags>()
  const session = new Session(flags)
  const conditions = await conditionsOf(session, flags)
  const added = await session.withClient(async client =>
    client.addPolicy({ ...conditions, keyId: await keyIdOf(client, flags.key) }),
  )
  if ('allowAnyJob' in conditions) {
    session.printer.note('ANY JOB: the image answers whatever its host asks of it')
  }
  return { added, printer: session.printer }
}

type WithoutKey<T> = T extends unknown ? Omit<T, 'keyId'> : never

async function conditionsOf(session: Session, flags: AddFlags): Promise<WithoutKey<NewPolicy>> {
  const common = {
    tees: [teeFrom(flags.tee)],
    tcbStatuses: ['UpToDate' as const],
  }
  if (flags.allowAnyJob === true) {
    if (flags.image === undefined || flags.job !== undefined) {
      throw new UsageError('--allow-any-job goes with --image', 'name the image, and no job')
    }
    const { measurement } = await openImage(flags.image)
    return { ...common, measurement, allowAnyJob: true }
  }
  if (flags.job === undefined) {
    throw new UsageError('a policy names a job', 'give --job job.yaml')
  }
  const statement = await statementOf(await readJobFile(flags.job), await session.pin())
  return {
    ...common,
    measurement: statement.measurement,
    jobDigest: Buffer.from(jobDigest(statement)).toString('hex'),
  }
}

function teeFrom(text: string): 'sgx' | 'sim' {
  if (text === 'sgx' || text === 'sim') return text
  throw new UsageError(`--tee: wanted sgx or sim, saw ${text}`, 'give one of the two')
}
