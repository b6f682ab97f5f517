import type { Command } from 'commander'
import { keyIdOf } from '../key-name.ts'
import { table } from '../output/table.ts'
import { type GlobalFlags, Session } from '../session.ts'

/** `cloister key alias …`: names that the account has for its keys. */
export function addAliasCommands(key: Command): void {
  const alias = key
    .command('alias')
    .description("names of the account's own for its keys; policies and jobs name key ids")
  for (const [verb, description] of [
    ['create', 'name a key'],
    ['update', 'have a name stand for another key'],
  ] as const) {
    alias
      .command(verb)
      .description(description)
      .argument('<alias>', 'the name')
      .argument('<key>', "the key's id, or another alias of it")
      .addHelpText('after', `\nExample:\n  cloister key alias ${verb} patients 7f0c2a6e-…`)
      .action(async (name: string, named: string, _flags, command: Command) => {
        const session = new Session(command.optsWithGlobals<GlobalFlags>())
        const made = await session.withClient(async client => {
          const keyId = await keyIdOf(client, named)
          return verb === 'create'
            ? await client.createAlias(name, keyId)
            : await client.updateAlias(name, keyId)
        })
        session.printer.result(made, () => `${made.alias} stands for key ${made.keyId}`)
      })
  }
  alias
    .command('delete')
    .description('take a name away; the key stays')
    .argument('<alias>', 'the name')
    .addHelpText('after', '\nExample:\n  cloister key alias delete patients')
    .action(async (name: string, _flags, command: Command) => {
      const session = new Session(command.optsWithGlobals<GlobalFlags>())
      await session.withClient(client => client.deleteAlias(name))
      session.printer.result({ alias: name }, () => `${name} stands for no key`)
    })
  alias
    .command('list')
    .description("the account's aliases")
    .addHelpText('after', '\nExample:\n  cloister key alias list')
    .action(async (_flags, command: Command) => {
      const session = new Session(command.optsWithGlobals<GlobalFlags>())
      const aliases = await session.withClient(client => client.listAliases())
      session.printer.result(aliases, () =>
        table(
          ['alias', 'key', 'created'],
          aliases.map(entry => [entry.alias, entry.keyId, entry.createdAt]),
        ),
      )
    })
}
