import { type KmsClient, SIGNING_ALGORITHMS, type SigningAlgorithm } from '@cloister/kms'
import type { Command } from 'commander'
import { readInput } from '../attest/input-file.ts'
import { readSmall } from '../files/small-file.ts'
import { writeWhole } from '../files/write-whole.ts'
import { keyIdOf, withKey } from '../key-name.ts'
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
        const how = await howToSign(client, named, flags)
        const signature = await withKey(client, named, key => client.sign(key, message, how))
        await writeWhole(out, [signature])
        return { key: named, signature: out, ...how }
      })
      session.printer.result(told, () => `signature by key ${named} in ${out}`)
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
          const how = await howToSign(client, named, flags)
          const valid = await withKey(client, named, key =>
            client.verify(key, message, signature, how),
          )
          return { key: named, valid, ...how }
        })
        session.printer.result(told, () =>
          told.valid ? `signed by key ${named}` : `not signed by key ${named}`,
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
async function howToSign(client: KmsClient, named: string, { algorithm, digest }: SignFlags) {
  const messageType = digest === true ? ('DIGEST' as const) : ('RAW' as const)
  // Looked up only where nobody says: a credential that may sign need not be one that may look.
  const signingAlgorithm =
    algorithm === undefined
      ? await onlyAlgorithm(client, named)
      : oneOf(SIGNING_ALGORITHMS, algorithm)
  return { signingAlgorithm, messageType }
}

async function onlyAlgorithm(client: KmsClient, named: string): Promise<SigningAlgorithm> {
  const { algorithms } = await client.describeKey(await keyIdOf(client, named))
  const signing = SIGNING_ALGORITHMS.filter(name => algorithms.includes(name))
  const [first, ...others] = signing
  if (first === undefined) {
    throw new UsageError(`key ${named} does not sign`, 'name one whose usage is SIGN_VERIFY')
  }
  return others.length === 0 ? first : oneOf([], 'none', signing)
}

/** @throws UsageError where it is none of them */
function oneOf(
  known: readonly SigningAlgorithm[],
  seen: string,
  wanted: readonly string[] = known,
): SigningAlgorithm {
  const found = known.find(name => name === seen)
  if (found !== undefined) return found
  throw new UsageError(`--algorithm: wanted ${wanted.join(', ')}; saw ${seen}`, 'give one of these')
}
