import type { PolicyDescription } from '@cloister/kms'
import type { Command } from 'commander'
import { table } from '../output/table.ts'
import { addReleasePolicy } from '../policy/add.ts'
import { withPolicyOptions } from '../policy/options.ts'
import { type GlobalFlags, Session } from '../session.ts'
import { UsageError } from '../usage-error.ts'
import { addExplainCommand } from './policy-explain.ts'
import { addJobTemplateCommand } from './policy-job-template.ts'
import { addTestCommand } from './policy-test.ts'
import { addWithdrawCommand } from './policy-withdraw.ts'

/** `cloister policy …`: who may use a key. */
export function addPolicyCommands(program: Command): void {
  const policy = program.command('policy').description('release policies: who may use a key')

  withPolicyOptions(policy.command('add'))
    .description('let an image use a key for one job, or as a file says')
    .addHelpText(
      'after',
      `
Examples:
  cloister policy add --key patients --job job.yaml --tee sim
  cloister policy add --key patients --job job.yaml --tee sgx --max-releases 10 --not-after 2027-01-01
  cloister policy add --key patients --image reports.image --job-template jobs.yaml --tee sgx
  cloister policy add --key patients --image reports.image --allow-any-job --tee sgx
  cloister policy add --file policy.yaml --key patients
  cloister policy add --file forbid-weekends.cedar`,
    )
    .action(async (_flags, command: Command) => {
      const { added, printer } = await addReleasePolicy(command)
      printer.result(added, () => `policy ${added.policyId}\n${added.cedar}`)
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

  policy
    .command('show')
    .description('the text of a policy, which decides, and how often it has permitted a release')
    .argument('<policy>', 'its id')
    .addHelpText('after', '\nExample:\n  cloister policy show 4cf0a7c1-…')
    .action(async (id: string, _flags, command: Command) => {
      const session = new Session(command.optsWithGlobals<GlobalFlags>())
      const policies = await session.withClient(client => client.listPolicies())
      const found = policies.find(({ policyId }) => policyId === id)
      if (found === undefined) {
        throw new UsageError(`the account has no policy ${id}`, 'cloister policy list shows them')
      }
      session.printer.result(found, () => {
        const { createdAt, effect, keyId, releases } = found
        return `${effect}s, for key ${keyId}, since ${createdAt}; releases so far: ${releases}\n${found.cedar}`
      })
    })

  policy
    .command('remove')
    .description('take a policy away, at once')
    .argument('<policy>', 'its id')
    .addHelpText('after', '\nExample:\n  cloister policy remove 4cf0a7c1-…')
    .action(async (id: string, _flags, command: Command) => {
      const session = new Session(command.optsWithGlobals<GlobalFlags>())
      await session.withClient(client => client.removePolicy(id))
      session.printer.result({ policyId: id }, () => `policy ${id} is removed`)
    })

  addTestCommand(policy)
  addExplainCommand(policy)
  addJobTemplateCommand(policy)
  addWithdrawCommand(policy)
}

function policyTable(policies: readonly PolicyDescription[]): string {
  return table(
    ['policy', 'effect', 'key', 'releases', 'created'],
    policies.map(({ createdAt, effect, keyId, policyId, releases }) => [
      policyId,
      effect,
      keyId,
      String(releases),
      createdAt,
    ]),
  )
}
