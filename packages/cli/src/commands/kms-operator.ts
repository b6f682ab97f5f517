import type { EhsmAccountJson } from '@cloister/kms'
import type { Command } from 'commander'
import { asOperator, type OperatorFlags, withOperatorToken } from '../accounts/operator.ts'
import { table } from '../output/table.ts'
import { writeSecretOf } from '../private-output.ts'
import { Session } from '../session.ts'
import { UsageError } from '../usage-error.ts'

interface RotateTokenFlags extends OperatorFlags {
  readonly out?: string
}

/** `cloister kms rotate-token` and `cloister kms ehsm-account …`: for the operator of a key service. */
export function addOperatorCommands(kms: Command): void {
  addRotateTokenCommand(kms)
  addEhsmAccountCommands(kms)
}

function addRotateTokenCommand(kms: Command): void {
  withOperatorToken(kms.command('rotate-token'))
    .description('replace a token of the data folder; the one before is worth nothing from then on')
    .argument('<token>', 'operator, or audit')
    .option('--out <file>', 'a new file that the token goes to as well')
    .addHelpText(
      'after',
      `
The file in the data folder shows the new token: of several replicas, in that of the one that was asked
at once, and in the others' within a second. It is not printed: from another machine, take it by --out.

Examples:
  cloister kms rotate-token operator
  cloister kms rotate-token audit --out auditor/audit-token`,
    )
    .action(async (name: string, _flags, command: Command) => {
      if (name !== 'operator' && name !== 'audit') {
        throw new UsageError(
          `wanted operator or audit, saw ${name}`,
          'the enrolment token is another after each use',
        )
      }
      const flags = command.optsWithGlobals<RotateTokenFlags>()
      const session = new Session(flags)
      const { out } = flags
      const rotate = () => asOperator(session, flags, operator => operator.rotateToken(name))
      await (out === undefined ? rotate() : writeSecretOf(out, rotate))
      const file = out === undefined ? {} : { file: out }
      session.printer.result({ rotated: name, ...file }, () => {
        const also = out === undefined ? '' : ` and ${out}`
        return `the data folder's ${name}-token${also}: a new token; the one before is refused`
      })
    })
}

function addEhsmAccountCommands(kms: Command): void {
  const account = kms
    .command('ehsm-account')
    .description('accounts of the eHSM-compatible interface; for the operator')

  withOperatorToken(account.command('list'))
    .description('all of them')
    .addHelpText('after', '\nExample:\n  cloister kms ehsm-account list --json')
    .action(async (_flags, command: Command) => {
      const flags = command.optsWithGlobals<OperatorFlags>()
      const session = new Session(flags)
      const accounts = await asOperator(session, flags, operator => operator.ehsmAccounts())
      session.printer.result(accounts, () => accountTable(accounts))
    })

  for (const [verb, says] of [
    ['disable', 'refuse the requests of one, whose API key got into other hands, say'],
    ['enable', 'take its requests again'],
  ] as const) {
    withOperatorToken(account.command(verb))
      .description(says)
      .argument('<appid>', 'its id')
      .addHelpText(
        'after',
        `\nExample:\n  cloister kms ehsm-account ${verb} 0b7c5a52-3c52-4d59-9a50-0f6e2c6f0d11`,
      )
      .action(async (appId: string, _flags, command: Command) => {
        const flags = command.optsWithGlobals<OperatorFlags>()
        const session = new Session(flags)
        const changed = await asOperator(session, flags, operator =>
          operator.setEhsmAccount(appId, verb),
        )
        session.printer.result(changed, () => `account ${changed.appId} is ${changed.state}`)
      })
  }
}

function accountTable(accounts: readonly EhsmAccountJson[]): string {
  return table(
    ['appid', 'state', 'created', 'earlier API key until'],
    accounts.map(({ appId, createdAt, previousEndsAt, state }) => [
      appId,
      state,
      createdAt,
      previousEndsAt ?? '',
    ]),
  )
}
