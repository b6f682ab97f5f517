import { openImage, verifyMeasurementFile } from '@cloister/enclave'
import { jobStatementOf, readJobFile, statementOf } from '@cloister/engine'
import { jobDigest, type NewPolicy, type PolicyDescription } from '@cloister/kms'
import type { Command } from 'commander'
import { readInput } from '../attest/input-file.ts'
import { keyIdOf } from '../key-name.ts'
import type { Printer } from '../output/printer.ts'
import { type GlobalFlags, Session } from '../session.ts'
import { UsageError } from '../usage-error.ts'
import { wholeNumber } from '../whole-number.ts'

interface AddFlags extends GlobalFlags {
  readonly key: string
  readonly job?: string
  readonly image?: string
  readonly allowAnyJob?: true
  readonly tee: string
  readonly measurementFile?: string
  readonly signer?: string
  readonly minimumSvn?: string
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
  const stated = await statedMeasurement(flags)
  if (flags.allowAnyJob === true) {
    if ((flags.image === undefined) === (stated === undefined) || flags.job !== undefined) {
      throw new UsageError(
        '--allow-any-job goes with --image or --measurement-file',
        'name the image, and no job',
      )
    }
    const measurement = stated ?? (await openImage(flags.image ?? '')).measurement
    return { ...common, measurement, allowAnyJob: true }
  }
  if (flags.job === undefined) {
    throw new UsageError('a policy names a job', 'give --job job.yaml')
  }
  const job = await readJobFile(flags.job)
  const pin = await session.pin()
  const statement =
    stated === undefined
      ? await statementOf(job, pin)
      : jobStatementOf(job, { measurement: stated, kms: [pin.identityKey] })
  return {
    ...common,
    measurement: statement.measurement,
    jobDigest: Buffer.from(jobDigest(statement)).toString('hex'),
  }
}

/** The measurement that a builder's file states; undefined where none is given. */
async function statedMeasurement(flags: AddFlags): Promise<string | undefined> {
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

function teeFrom(text: string): 'sgx' | 'sim' {
  if (text === 'sgx' || text === 'sim') return text
  throw new UsageError(`--tee: wanted sgx or sim, saw ${text}`, 'give one of the two')
}
