import type { Command } from 'commander'
import { writeWhole } from '../files/write-whole.ts'
import { type GlobalFlags, Session } from '../session.ts'
import { UsageError } from '../usage-error.ts'
import { addRegisterCommand } from './attest.ts'
import { addEnrolCommand } from './enrol.ts'
import { addVerifyCommand } from './kms-verify.ts'

/**
 * `cloister enroll`, `generatekeys`, `verify` and `register`: the older scripts' words for `kms enrol`,
 * `key create`, `kms verify` and `policy add`.
 * Their `encrypt` and `decrypt` are the ones there are.
 * @see docs/cli.md, section The older scripts' verbs
 */
export function addOlderCommands(program: Command): void {
  addEnrolCommand(program, 'enroll')
  addVerifyCommand(program)
  addRegisterCommand(program)
  program
    .command('generatekeys')
    .alias('generatekey')
    .description("the older scripts' name for key create; data keys are made with each file")
    .argument('[older...]', 'what the older scripts took here is refused')
    .option('--open', 'lets the owner open data outside any enclave; for results, never for inputs')
    .option('--alias <name>', 'a name for people; an account has each once')
    .option('--out <file>', 'where the key id goes, as the older primary-key file had it')
    .addHelpText(
      'after',
      '\nExample:\n  cloister generatekeys --alias patients --out data/key/ehsm_encrypted_primary_key',
    )
    .action(async (older: readonly string[], _flags, command: Command) => {
      if (older.length > 0) {
        throw new UsageError(
          `wanted no arguments, saw ${older.length}: account ids and keys are not given here`,
          'cloister enroll keeps them in files; then cloister generatekeys',
        )
      }
      const flags = command.optsWithGlobals<
        GlobalFlags & { open?: true; alias?: string; out?: string }
      >()
      const session = new Session(flags)
      const { alias, out } = flags
      const made = await session.withClient(client =>
        client.createKey({
          mode: flags.open === true ? 'open' : 'attested-only',
          ...(alias === undefined ? {} : { alias }),
        }),
      )
      if (out !== undefined) await writeWhole(out, [Buffer.from(`${made.keyId}\n`)])
      session.printer.result(made, () => made.keyId)
    })
}
