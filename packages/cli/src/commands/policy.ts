import type { PolicyDescription } from '@cloister/kms'
import type { Command } from 'commander'
import { table } from '../output/table.ts'
import { addReleasePolicy } from '../policy/add.ts'
import { withPolicyOptions } from '../policy/options.ts'
import { type GlobalFlags, Session } from '../session.ts'

/** `cloister policy …`: who may use a key. */
export function addPolicyCommands(program: Command): void {
  const policy = program.command('policy').description('release policies: who may use a key')

  withPolicyOptions(policy.command('add'))
    .description('let an image use a key for one job')
    .addHelpText(
      'after',
      `
Examples:
  cloister policy add --key patients --job job.yaml --tee sim
  cloister policy add --key patients --image reports.image --allow-any-job --tee sgx`,
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
}

function policyTable(policies: readonly PolicyDescription[]): string {
  return table(
    ['policy', 'key', 'created'],
    policies.map(({ policyId, keyId, createdAt }) => [policyId, keyId, createdAt]),
  )
}
