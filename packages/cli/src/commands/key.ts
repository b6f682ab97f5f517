import type { KeyDescription } from '@cloister/kms'
import type { Command } from 'commander'
import { table } from '../output/printer.ts'
import type { GlobalFlags } from '../session.ts'
import { Session } from '../session.ts'

/** `cloister key …`: customer master keys. */
export function addKeyCommands(program: Command): void {
  const key = program.command('key').description('customer master keys (CMKs)')

  key
    .command('create')
    .description('make a CMK; attested-only for good unless --open is given')
    .option('--open', 'lets the owner open data outside any enclave; for results, never for inputs')
    .option('--alias <name>', 'a name for people')
    .addHelpText(
      'after',
      `
Examples:
  cloister key create --alias patients
  cloister key create --open --alias results`,
    )
    .action(async (_flags, command: Command) => {
      const flags = command.optsWithGlobals<GlobalFlags & { open?: true; alias?: string }>()
      const session = new Session(flags)
      const made = await session.withClient(client =>
        client.createKey({
          mode: flags.open === true ? 'open' : 'attested-only',
          ...(flags.alias === undefined ? {} : { alias: flags.alias }),
        }),
      )
      if (made.mode === 'open') {
        session.printer.note('open: whoever holds your credential can decrypt under this key')
      }
      session.printer.result(made, () => made.keyId)
    })

  key
    .command('list')
    .description("the account's keys")
    .addHelpText('after', '\nExample:\n  cloister key list --json')
    .action(async (_flags, command: Command) => {
      const session = new Session(command.optsWithGlobals<GlobalFlags>())
      const keys = await session.withClient(client => client.listKeys())
      session.printer.result(keys, () => keyTable(keys))
    })
}

function keyTable(keys: readonly KeyDescription[]): string {
  return table(
    ['key', 'alias', 'mode', 'state', 'version', 'created'],
    keys.map(key => [
      key.keyId,
      key.alias ?? '',
      key.mode,
      key.state,
      String(key.currentVersion),
      key.createdAt,
    ]),
  )
}
