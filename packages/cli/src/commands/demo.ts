import { resolve } from 'node:path'
import type { Command } from 'commander'
import { runDemo } from '../demo/demo.ts'
import { type GlobalFlags, Session } from '../session.ts'
import { wholeNumber } from '../whole-number.ts'

const MAX_ROWS = 1_000_000_000

/** `cloister demo`: the main job and attacks on it. */
export function addDemoCommand(program: Command): void {
  program
    .command('demo')
    .description('the main job, end to end, on this machine; then attacks being refused')
    .option('--rows <number>', 'people to generate', '1000000')
    .option('--seed <number>', 'the same seed gives the same people', '1')
    .option('--folder <folder>', 'where everything goes', 'cloister-demo')
    .addHelpText('after', '\nExample:\n  cloister demo --rows 100000')
    .action(async (_flags, command: Command) => {
      const flags = command.optsWithGlobals<
        GlobalFlags & { rows: string; seed: string; folder: string }
      >()
      const session = new Session(flags)
      const outcome = await runDemo({
        folder: resolve(flags.folder),
        rows: wholeNumber('--rows', flags.rows, 1, MAX_ROWS),
        seed: wholeNumber('--seed', flags.seed, 0, 0xffffffff),
        printer: session.printer,
      })
      session.printer.result(outcome, () =>
        [
          '',
          `The count is right: ${outcome.youngDevelopers.queried}. All ${outcome.attacks.length} attacks were refused.`,
          `Receipts: ${outcome.receipts.join(', ')}`,
          'The TEE was simulated: nothing was hidden from this machine.',
        ].join('\n'),
      )
    })
}
