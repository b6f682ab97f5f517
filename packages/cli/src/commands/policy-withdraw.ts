import { measurementOf } from '@cloister/engine/job'
import type { NewWithdrawal, WithdrawalCalls, WithdrawalJson, Withdrawn } from '@cloister/kms'
import type { Command } from 'commander'
import { asOperator, type OperatorFlags } from '../accounts/operator.ts'
import { table } from '../output/table.ts'
import { Session } from '../session.ts'
import { UsageError } from '../usage-error.ts'

interface WithdrawFlags extends OperatorFlags {
  readonly measurement?: string
  readonly image?: string
  readonly signer?: string
  readonly reason?: string
  readonly undo?: string
  readonly list?: true
}

/** `cloister policy withdraw`: nothing more is released to a measurement or a signer. */
export function addWithdrawCommand(policy: Command): void {
  policy
    .command('withdraw')
    .description('release nothing more to a measurement or a signer, whatever policies say')
    .option('--measurement <hex>', 'the measurement')
    .option('--image <folder>', 'the image that it is of')
    .option('--signer <hex>', 'MRSIGNER: everything that this signer signed')
    .option('--reason <text>', 'why; whoever is refused is told')
    .option('--undo <id>', 'take a withdrawal of your own back')
    .option('--list', 'what is withdrawn')
    .option(
      '--operator-token-file <file>',
      'for all keys of the key service, by its operator (default: for your own keys)',
    )
    .addHelpText(
      'after',
      `
Examples:
  cloister policy withdraw --image reports.image --reason "CVE-2026-1234"
  cloister policy withdraw --signer 83d7… --operator-token-file /var/lib/cloister/operator-token
  cloister policy withdraw --list
  cloister policy withdraw --undo 1c0e…`,
    )
    .action(async (_flags, command: Command) => {
      const flags = command.optsWithGlobals<WithdrawFlags>()
      const session = new Session(flags)
      if (flags.list === true) {
        const found = await calling(session, flags, calls => calls.list())
        session.printer.result(found, () => withdrawalTable(found))
        return
      }
      const { undo } = flags
      if (undo !== undefined) {
        await calling(session, flags, calls => calls.undo(undo))
        session.printer.result({ withdrawalId: undo }, () => `withdrawal ${undo} is undone`)
        return
      }
      const wanted = await withdrawalFrom(flags)
      const withdrawn = await calling(session, flags, calls => calls.withdraw(wanted))
      session.printer.result(withdrawn, () => told(withdrawn))
    })
}

async function calling<T>(
  session: Session,
  flags: WithdrawFlags,
  work: (calls: WithdrawalCalls) => Promise<T>,
): Promise<T> {
  return flags.operatorTokenFile === undefined
    ? await session.withClient(client => work(client.withdrawals))
    : await asOperator(session, flags, operator => work(operator.withdrawals))
}

async function withdrawalFrom(flags: WithdrawFlags): Promise<NewWithdrawal> {
  const { image, measurement, reason, signer } = flags
  const given = [image, measurement, signer].filter(value => value !== undefined)
  if (given.length !== 1) {
    throw new UsageError('what is withdrawn?', 'give one of --image, --measurement and --signer')
  }
  const why = reason === undefined ? {} : { reason }
  if (signer !== undefined) return { kind: 'signer', value: signer, ...why }
  const value = measurement ?? (await measurementOf(image ?? ''))
  return { kind: 'measurement', value, ...why }
}

/** What it does, and what it cannot. */
function told({ tokensEndAt, withdrawal }: Withdrawn): string {
  const whose = withdrawal.byOperator ? 'any key' : 'your keys'
  return [
    `${withdrawal.kind} ${withdrawal.value} is withdrawn (${withdrawal.withdrawalId})`,
    `  from now on nothing under ${whose} is released to it, also not to instances that hold a token,`,
    '  and no result of it becomes the next version of a dataset',
    `  tokens given before end by ${tokensEndAt}`,
    '  what running instances have received already cannot be taken back: stop them',
    `  undo: cloister policy withdraw --undo ${withdrawal.withdrawalId}`,
  ].join('\n')
}

function withdrawalTable(withdrawals: readonly WithdrawalJson[]): string {
  return table(
    ['withdrawal', 'kind', 'value', 'by', 'reason', 'since'],
    withdrawals.map(({ byOperator, createdAt, kind, reason, value, withdrawalId }) => [
      withdrawalId,
      kind,
      value,
      byOperator ? 'operator' : 'account',
      reason,
      createdAt,
    ]),
  )
}
