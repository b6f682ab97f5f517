import type { KeyDescription, KmsClient } from '@cloister/kms'
import type { Command } from 'commander'
import { addAliasCommands } from '../key/aliases.ts'
import { addKeyDataCommands } from '../key/data.ts'
import { pairsFrom, several, wordFrom } from '../key/flags.ts'
import { addKeyLifeCommands } from '../key/life.ts'
import { describeForPeople, keyTable } from '../key/print.ts'
import { addSignCommands } from '../key/sign.ts'
import { keyIdOf } from '../key-name.ts'
import { type GlobalFlags, Session } from '../session.ts'

const SPECS = [
  ...['SYMMETRIC_DEFAULT', 'RSA_2048', 'RSA_3072', 'RSA_4096', 'ECC_NIST_P256'],
  ...['ECC_NIST_P384', 'ECC_NIST_P521', 'ECC_SECG_P256K1', 'SM2'],
] as KeyDescription['keySpec'][]

interface CreateFlags extends GlobalFlags {
  readonly open?: true
  readonly alias?: string
  readonly spec?: string
  readonly usage?: string
  readonly external?: true
  readonly description?: string
  readonly tag?: readonly string[]
}

/** `cloister key …`: customer master keys. */
export function addKeyCommands(program: Command): void {
  const key = program.command('key').description('customer master keys (CMKs)')
  addCreateCommand(key)

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
    name: 'describe',
    description: 'all that there is to say of a key',
    act: (client, keyId) => client.describeKey(keyId),
    say: describeForPeople,
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
  addVerb(key, {
    name: 'cancel-deletion',
    description: 'cancel a planned deletion; the key is then disabled',
    act: (client, keyId) => client.cancelKeyDeletion(keyId),
    say: made => `key ${made.keyId} is ${made.state}`,
  })
  addKeyLifeCommands(key)
  addAliasCommands(key)
  addKeyDataCommands(key)
  addSignCommands(key)
}

function addCreateCommand(key: Command): void {
  key
    .command('create')
    .description('make a CMK; attested-only for good unless --open is given')
    .option('--open', 'lets the owner open data outside any enclave; for results, never for inputs')
    .option('--alias <name>', 'a name for people; an account has each once')
    .option('--spec <kind>', `${SPECS.join(', ')} (with --open; default: SYMMETRIC_DEFAULT)`)
    .option('--usage <usage>', 'ENCRYPT_DECRYPT or SIGN_VERIFY, for kinds that do both')
    .option('--external', 'without material: cloister key import brings it')
    .option('--description <text>', 'what it is for')
    .option('--tag <name=value>', 'a tag; may be given several times', several)
    .addHelpText(
      'after',
      `
Examples:
  cloister key create --alias patients
  cloister key create --open --alias results --tag team=statistics
  cloister key create --open --spec ECC_NIST_P256 --alias reports`,
    )
    .action(async (_flags, command: Command) => {
      const flags = command.optsWithGlobals<CreateFlags>()
      const session = new Session(flags)
      const { alias, description, spec, usage } = flags
      const keyUsage = usage && wordFrom('--usage', usage, ['ENCRYPT_DECRYPT', 'SIGN_VERIFY'])
      const wanted = {
        mode: flags.open === true ? 'open' : 'attested-only',
        ...(alias === undefined ? {} : { alias }),
        ...(spec === undefined ? {} : { keySpec: wordFrom('--spec', spec, SPECS) }),
        ...(keyUsage ? { keyUsage } : {}),
        ...(flags.external === true ? { origin: 'external' as const } : {}),
        ...(description === undefined ? {} : { description }),
        ...(flags.tag === undefined ? {} : { tags: pairsFrom('--tag', flags.tag) }),
      } as const
      const made = await session.withClient(client => client.createKey(wanted))
      if (made.mode === 'open') {
        session.printer.note(
          'open: whoever holds your credential can use and decrypt under this key',
        )
      }
      session.printer.result(made, () => made.keyId)
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
