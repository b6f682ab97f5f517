import type { KmsClient, SigningAlgorithm } from '@cloister/kms'
import type { Command } from 'commander'
import { readInput } from '../attest/input-file.ts'
import { readSmall } from '../files/small-file.ts'
import { writeWhole } from '../files/write-whole.ts'
import { keyIdOf } from '../key-name.ts'
import { EXIT } from '../output/exit-codes.ts'
import { type GlobalFlags, Session } from '../session.ts'
import { UsageError } from '../usage-error.ts'

const MAX_MESSAGE = 4096

interface SignFlags extends GlobalFlags {
  readonly algorithm?: string
  readonly digest?: true
}

const DIGEST = 'the file is a digest, and not what it is of'

/** Commands of keys that sign. */
export function addSignCommands(key: Command): void {
  key
    .command('sign')
    .description('sign up to 4096 bytes, or a digest')
    .argument('<key>', 'its id or alias')
    .argument('<file>', 'what is signed, or - for standard input')
    .argument('<signature-file>', 'where the signature goes')
    .option('--algorithm <name>', 'where the key has several: cloister key describe names them')
    .option('--digest', DIGEST)
    .addHelpText(
      'after',
      '\nExample:\n  cloister key sign reports report.pdf.sha256 report.sig --digest',
    )
    .action(async (named: string, file: string, out: string, _flags, command: Command) => {
      const flags = command.optsWithGlobals<SignFlags>()
      const session = new Session(flags)
      const message = await readSmall(file, MAX_MESSAGE)
      const told = await session.withClient(async client => {
        const { how, keyId } = await howToSign(client, named, flags)
        const signature = await client.sign(keyId, message, how)
        await writeWhole(out, [signature])
        return { keyId, signature: out, ...how }
      })
      session.printer.result(told, () => `signature by key ${told.keyId} in ${out}`)
    })

  key
    .command('verify')
    .description('tell whether a signature is of a key')
    .argument('<key>', 'its id or alias')
    .argument('<file>', 'what is signed, or - for standard input')
    .argument('<signature-file>', 'the signature')
    .option('--algorithm <name>', 'where the key has several: cloister key describe names them')
    .option('--digest', DIGEST)
    .addHelpText(
      'after',
      '\nExample:\n  cloister key verify reports report.pdf.sha256 report.sig --digest',
    )
    .action(
      async (named: string, file: string, signatureFile: string, _flags, command: Command) => {
        const flags = command.optsWithGlobals<SignFlags>()
        const session = new Session(flags)
        const message = await readSmall(file, MAX_MESSAGE)
        const signature = await readInput(signatureFile)
        const told = await session.withClient(async client => {
          const { how, keyId } = await howToSign(client, named, flags)
          return { keyId, valid: await client.verify(keyId, message, signature, how), ...how }
        })
        session.printer.result(told, () =>
          told.valid ? `signed by key ${told.keyId}` : `not signed by key ${told.keyId}`,
        )
        if (!told.valid) process.exitCode = EXIT.notAuthentic
      },
    )

  key
    .command('public-key')
    .description('the public half of an asymmetric key, PEM')
    .argument('<key>', 'its id or alias')
    .addHelpText('after', '\nExample:\n  cloister key public-key reports > reports.pem')
    .action(async (named: string, _flags, command: Command) => {
      const session = new Session(command.optsWithGlobals<GlobalFlags>())
      const made = await session.withClient(async client =>
        client.getPublicKey(await keyIdOf(client, named)),
      )
      session.printer.result(made, () => made.publicKey)
    })
}

/** The algorithm that a person names, or the only one that the key has. @throws UsageError */
async function howToSign(client: KmsClient, named: string, flags: SignFlags) {
  const { algorithms, keyId } = await client.describeKey(await keyIdOf(client, named))
  const [only, ...others] = algorithms
  const wanted = flags.algorithm ?? (others.length === 0 ? only : undefined)
  const found = algorithms.find(name => name === wanted)
  if (found === undefined) {
    const seen = flags.algorithm ?? 'none'
    throw new UsageError(
      `--algorithm: wanted ${algorithms.join(', ')}; saw ${seen}`,
      'give one of these',
    )
  }
  // Of a key that signs these are all that there are; of another, the key service says so.
  const signingAlgorithm = found as SigningAlgorithm
  const messageType = flags.digest === true ? ('DIGEST' as const) : ('RAW' as const)
  return { keyId, how: { signingAlgorithm, messageType } }
}
