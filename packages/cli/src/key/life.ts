import type { Command } from 'commander'
import { readSmall } from '../files/small-file.ts'
import { keyIdOf } from '../key-name.ts'
import { type GlobalFlags, Session } from '../session.ts'
import { UsageError } from '../usage-error.ts'
import { pairsFrom, wholeNumber } from './flags.ts'
import { describeForPeople } from './print.ts'

/** Most bytes of material that may be brought: PKCS#8 of RSA-4096, and some. */
const MAX_MATERIAL = 8192

/** Commands about what is planned for a key, and what is noted on it. */
export function addKeyLifeCommands(key: Command): void {
  addRotationCommand(key)
  addDeleteCommand(key)
  addTagCommands(key)
  addImportCommand(key)
}

function addRotationCommand(key: Command): void {
  key
    .command('rotation')
    .description('have the key service rotate a key by itself, or not')
    .argument('<key>', 'its id or alias')
    .option('--every <days>', '1 to 2560')
    .option('--off', 'on demand only')
    .addHelpText('after', '\nExample:\n  cloister key rotation patients --every 90')
    .action(async (named: string, _flags, command: Command) => {
      const flags = command.optsWithGlobals<GlobalFlags & { every?: string; off?: true }>()
      const { every, off } = flags
      if ((every === undefined) === (off === undefined)) {
        throw new UsageError(
          'wanted --every or --off',
          'cloister key describe KEY says what is set',
        )
      }
      const days = every === undefined ? undefined : wholeNumber('--every', every, 1, 2560)
      const session = new Session(flags)
      const made = await session.withClient(async client => {
        const keyId = await keyIdOf(client, named)
        return days === undefined
          ? await client.disableKeyRotation(keyId)
          : await client.enableKeyRotation(keyId, days)
      })
      session.printer.result(made, () =>
        made.rotation === null
          ? `key ${made.keyId} is rotated on demand`
          : `key ${made.keyId} is rotated every ${made.rotation.periodDays} days, next at ${made.rotation.nextRotationAt}`,
      )
    })
}

function addDeleteCommand(key: Command): void {
  key
    .command('delete')
    .description('plan the deletion of a key; what is under it is then lost for good')
    .argument('<key>', 'its id or alias')
    .option('--days <number>', 'until then it does nothing, and can be had back; 7 to 30', '30')
    .addHelpText(
      'after',
      '\nExamples:\n  cloister key delete patients --days 7\n  cloister key cancel-deletion patients',
    )
    .action(async (named: string, _flags, command: Command) => {
      const flags = command.optsWithGlobals<GlobalFlags & { days: string }>()
      const days = wholeNumber('--days', flags.days, 7, 30)
      const session = new Session(flags)
      const made = await session.withClient(async client =>
        client.scheduleKeyDeletion(await keyIdOf(client, named), days),
      )
      session.printer.result(
        made,
        () => `key ${made.keyId} does nothing any more, and is deleted at ${made.deletionAt}`,
      )
    })
}

function addTagCommands(key: Command): void {
  key
    .command('tag')
    .description('set tags of a key')
    .argument('<key>', 'its id or alias')
    .argument('<tags...>', 'name=value')
    .addHelpText('after', '\nExample:\n  cloister key tag patients team=statistics cost=17')
    .action(async (named: string, tags: string[], _flags, command: Command) => {
      const session = new Session(command.optsWithGlobals<GlobalFlags>())
      const set = pairsFrom('tags', tags)
      const made = await session.withClient(async client =>
        client.tagKey(await keyIdOf(client, named), set),
      )
      session.printer.result(made, () => describeForPeople(made))
    })
  key
    .command('untag')
    .description('take tags of a key away')
    .argument('<key>', 'its id or alias')
    .argument('<names...>', 'names of tags')
    .addHelpText('after', '\nExample:\n  cloister key untag patients cost')
    .action(async (named: string, names: string[], _flags, command: Command) => {
      const session = new Session(command.optsWithGlobals<GlobalFlags>())
      const made = await session.withClient(async client =>
        client.untagKey(await keyIdOf(client, named), names),
      )
      session.printer.result(made, () => describeForPeople(made))
    })
}

function addImportCommand(key: Command): void {
  key
    .command('import')
    .description('bring the material of a key that was made with --external')
    .argument('<key>', 'its id or alias')
    .argument('<material>', 'a file with 32 raw bytes, or PKCS#8 (DER) of an RSA or EC key; or -')
    .addHelpText(
      'after',
      `
The material is wrapped here to a key of the key service's own, fresh for this import.

Examples:
  cloister key create --external --alias brought
  head -c 32 /dev/random > material && cloister key import brought material
  openssl pkcs8 -topk8 -nocrypt -in key.pem -outform DER | cloister key import signing -`,
    )
    .action(async (named: string, path: string, _flags, command: Command) => {
      const session = new Session(command.optsWithGlobals<GlobalFlags>())
      const material = await readSmall(path, MAX_MATERIAL)
      const made = await session
        .withClient(async client => client.importKey(await keyIdOf(client, named), material))
        .finally(() => material.fill(0))
      session.printer.result(made, () => `key ${made.keyId} is ${made.state}`)
    })
}
