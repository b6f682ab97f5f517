import { parseCiphertext } from '@cloister/kms'
import type { Command } from 'commander'
import { readSmall } from '../files/small-file.ts'
import { writeWhole } from '../files/write-whole.ts'
import { keyIdOf, withKey } from '../key-name.ts'
import { type GlobalFlags, Session } from '../session.ts'
import { UsageError } from '../usage-error.ts'
import { pairsFrom, several, wholeNumber } from './flags.ts'

const MAX_PLAINTEXT = 4096
const MAX_CIPHERTEXT = 8192

interface DataFlags extends GlobalFlags {
  readonly context?: readonly string[]
  readonly out?: string
}

const CONTEXT =
  'bound into the ciphertext, and needed again to decrypt; no secret; may be given several times'

/** Commands that encrypt and decrypt under open keys. */
export function addKeyDataCommands(key: Command): void {
  key
    .command('encrypt')
    .description('encrypt up to 4096 bytes under an open key')
    .argument('<key>', 'its id or alias')
    .argument('<file>', 'the plaintext, or - for standard input')
    .option('--context <name=value>', CONTEXT, several)
    .option('--out <file>', 'where the ciphertext goes (default: standard output)')
    .addHelpText(
      'after',
      '\nExample:\n  cloister key encrypt results password.txt --context db=people --out password.enc',
    )
    .action(async (named: string, file: string, _flags, command: Command) => {
      const flags = command.optsWithGlobals<DataFlags>()
      const session = new Session(flags)
      const plaintext = await readSmall(file, MAX_PLAINTEXT)
      const made = await session
        .withClient(client =>
          withKey(client, named, key => client.encrypt(key, plaintext, contextFrom(flags))),
        )
        .finally(() => plaintext.fill(0))
      await give(
        session,
        flags.out,
        { ...made, ciphertext: base64Url(made.ciphertext) },
        made.ciphertext,
      )
    })

  key
    .command('decrypt')
    .description('decrypt what was encrypted under an open key')
    .argument('<file>', 'the ciphertext, or - for standard input')
    .option('--key <key>', 'the key that it must be under (default: the one that it names)')
    .option('--context <name=value>', CONTEXT, several)
    .option('--out <file>', 'where the plaintext goes, mode 0600 (default: standard output)')
    .addHelpText(
      'after',
      '\nExample:\n  cloister key decrypt password.enc --key results --context db=people',
    )
    .action(async (file: string, _flags, command: Command) => {
      const flags = command.optsWithGlobals<DataFlags & { key?: string }>()
      const session = new Session(flags)
      const ciphertext = await readSmall(file, MAX_CIPHERTEXT)
      const plaintext = await session.withClient(async client => {
        const key = flags.key === undefined ? {} : { key: await keyIdOf(client, flags.key) }
        return await client.decrypt(ciphertext, { ...contextFrom(flags), ...key })
      })
      await give(session, flags.out, { plaintext: base64Url(plaintext) }, plaintext)
      plaintext.fill(0)
    })

  key
    .command('re-encrypt')
    .description('encrypt a ciphertext again, under the newest version or another open key')
    .argument('<file>', 'the ciphertext, or - for standard input')
    .option('--to <key>', 'the key to encrypt under (default: the same)')
    .option('--context <name=value>', CONTEXT, several)
    .option('--out <file>', 'where the new ciphertext goes (default: standard output)')
    .addHelpText(
      'after',
      '\nExample:\n  cloister key re-encrypt password.enc --context db=people --out password.new',
    )
    .action(async (file: string, _flags, command: Command) => {
      const flags = command.optsWithGlobals<DataFlags & { to?: string }>()
      const session = new Session(flags)
      const ciphertext = await readSmall(file, MAX_CIPHERTEXT)
      const made = await session.withClient(async client => {
        const { to } = flags
        const destination = to === undefined ? {} : { destinationKeyId: await keyIdOf(client, to) }
        const { keyId } = parseCiphertext(ciphertext)
        return await client.reEncrypt(keyId, ciphertext, { ...contextFrom(flags), ...destination })
      })
      await give(
        session,
        flags.out,
        { ...made, ciphertext: base64Url(made.ciphertext) },
        made.ciphertext,
      )
    })

  addDataKeyCommand(key)
}

function addDataKeyCommand(key: Command): void {
  key
    .command('data-key')
    .description('make a data key: encrypted, and in plaintext where a file for that is named')
    .argument('<key>', 'its id or alias')
    .argument('<ciphertext-file>', 'where the encrypted data key goes')
    .option('--plaintext <file>', 'where the plaintext data key goes, mode 0600')
    .option('--length <bytes>', '1 to 1024', '32')
    .option('--context <name=value>', CONTEXT, several)
    .addHelpText(
      'after',
      '\nExample:\n  cloister key data-key results data.key.enc --plaintext /dev/shm/data.key',
    )
    .action(async (named: string, file: string, _flags, command: Command) => {
      const flags = command.optsWithGlobals<DataFlags & { plaintext?: string; length: string }>()
      const session = new Session(flags)
      const length = wholeNumber('--length', flags.length, 1, 1024)
      const { keyId, keyVersion } = await session.withClient(async client => {
        const options = { ...contextFrom(flags), length }
        if (flags.plaintext === undefined) {
          const made = await withKey(client, named, key =>
            client.generateDataKeyWithoutPlaintext(key, options),
          )
          await writeWhole(file, [made.ciphertext])
          return made
        }
        const made = await withKey(client, named, key => client.generateDataKey(key, options))
        try {
          await writeWhole(file, [made.ciphertext])
          await writeWhole(flags.plaintext, [made.plaintext])
        } finally {
          made.plaintext.fill(0)
        }
        return made
      })
      const told = { keyId, keyVersion, ciphertext: file, plaintext: flags.plaintext ?? null }
      session.printer.result(told, () => `a data key under ${keyId} in ${file}`)
    })
}

/** @throws UsageError */
function contextFrom({ context }: DataFlags): { encryptionContext?: Record<string, string> } {
  return context === undefined ? {} : { encryptionContext: pairsFrom('--context', context) }
}

/** Gives bytes to a file or to standard output, and not to a person's screen. */
async function give(
  session: Session,
  out: string | undefined,
  value: object,
  bytes: Uint8Array,
): Promise<void> {
  if (out !== undefined) {
    await writeWhole(out, [bytes])
    session.printer.result({ out, bytes: bytes.length }, () => `${bytes.length} bytes in ${out}`)
    return
  }
  if (process.stdout.isTTY && !session.json) {
    throw new UsageError('the result is bytes, not text', 'give --out FILE, --json, or a pipe')
  }
  session.printer.bytes(value, bytes)
}

const base64Url = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64url')
