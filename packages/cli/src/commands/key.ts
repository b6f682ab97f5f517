import type { KeyDescription, KmsClient } from '@cloister/kms'
import type { Command } from 'commander'
import { keyIdOf } from '../key-name.ts'
import { table } from '../output/table.ts'
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

  addVerb(key, {
    name: 'rotate',
    description:
      'add a version to a key, which wraps from now on; cloister rewrap moves data to it',
    act: (client, keyId) => client.rotateKey(keyId),
    say: made => `key ${made.keyId} is at version ${made.currentVersion}`,
  })
  addVerb(key, {
    name: 'disable',
    description: 'refuse every use of a key until it is enabled again',
    act: (client, keyId) => client.disableKey(keyId),
    say: made => `key ${made.keyId} is ${made.state}`,
  })
  addVerb(key, {
    name: 'enable',
    description: 'allow the use of a key again',
    act: (client, keyId) => client.enableKey(keyId),
    say: made => `key ${made.keyId} is ${made.state}`,
  })
}

interface Verb {
  readonly name: string
  readonly description: string
  readonly act: (client: KmsClient, keyId: string) => Promise<KeyDescription>
  readonly say: (key: KeyDescription) => string
}

function addVerb(parent: Command, { name, description, act, say }: Verb): void {
  parent
    .command(name)
    .description(description)
    .argument('<key>', 'its id or alias')
    .addHelpText('after', `\nExample:\n  cloister key ${name} patients`)
    .action(async (named: string, _flags, command: Command) => {
      const session = new Session(command.optsWithGlobals<GlobalFlags>())
      const key = await session.withClient(async client =>
        act(client, await keyIdOf(client, named)),
      )
      session.printer.result(key, () => say(key))
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
