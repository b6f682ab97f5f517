import { openImage } from '@cloister/enclave'
import { readJobFile, statementOf } from '@cloister/engine'
import { jobDigest, type NewPolicy, type PolicyDescription } from '@cloister/kms'
import type { Command } from 'commander'
import { keyIdOf } from '../key-name.ts'
import { table } from '../output/table.ts'
import { type GlobalFlags, Session } from '../session.ts'
import { UsageError } from '../usage-error.ts'

interface AddFlags extends GlobalFlags {
  readonly key: string
  readonly job?: string
  readonly image?: string
  readonly allowAnyJob?: true
  readonly tee: string
}

/** `cloister policy …`: who may use a key. */
export function addPolicyCommands(program: Command): void {
  const policy = program.command('policy').description('release policies: who may use a key')

  policy
    .command('add')
    .description('let an image use a key for one job')
    .requiredOption('--key <key>', 'id or alias of the CMK')
    .option('--job <file>', 'the job.yaml; its image and its digest go into the policy')
    .option('--image <folder>', 'the image, with --allow-any-job')
    .option('--allow-any-job', 'whoever runs the image may have any query answered')
    .requiredOption('--tee <tee>', 'sgx, or sim: a simulated TEE, which protects nothing')
    .addHelpText(
      'after',
      `
Examples:
  cloister policy add --key patients --job job.yaml --tee sim
  cloister policy add --key patients --image reports.image --allow-any-job --tee sgx`,
    )
    .action(async (_flags, command: Command) => {
      const flags = command.optsWithGlobals<AddFlags>()
      const session = new Session(flags)
      const conditions = await conditionsOf(session, flags)
      const added = await session.withClient(async client =>
        client.addPolicy({ ...conditions, keyId: await keyIdOf(client, flags.key) }),
      )
      if ('allowAnyJob' in conditions) {
        session.printer.note('ANY JOB: the image answers whatever its host asks of it')
      }
      session.printer.result(added, () => `policy ${added.policyId}\n${added.cedar}`)
    })

  policy
    .command('list')
    .description("the account's policies")
    .addHelpText('after', '\nExample:\n  cloister policy list --json')
    .action(async (_flags, command: Command) => {
      const session = new Session(command.optsWithGlobals<GlobalFlags>())
      const policies = await session.withClient(client => client.listPolicies())
      session.printer.result(policies, () => policyTable(policies))
    })
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

function policyTable(policies: readonly PolicyDescription[]): string {
  return table(
    ['policy', 'key', 'created'],
    policies.map(({ policyId, keyId, createdAt }) => [policyId, keyId, createdAt]),
  )
}
