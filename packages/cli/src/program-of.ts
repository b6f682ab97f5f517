import { Command, CommanderError, type OutputConfiguration } from 'commander'
import { createPrinter } from './output/printer.ts'
import { cloisterVersion } from './version.ts'

/** Adds commands to a program. */
export type AddCommands = (program: Command) => void

/**
 * The `cloister` command with some of its commands.
 * @param argv - Node's.
 */
export function programOf(families: readonly AddCommands[], argv: readonly string[]): Command {
  const program = new Command('cloister')
    .description('run jobs on data that is plaintext only inside an attested enclave')
    .option('--home <folder>', 'where credentials and keys are kept (default: ~/.cloister)')
    .option('--json', 'print results and errors as JSON')
    .option('--version', 'print the version of Cloister')
    .on('option:version', () => tellVersion(argv.includes('--json')))
    .showSuggestionAfterError()
    .showHelpAfterError('(--help shows what can be given)')
    .exitOverride()
  // Told as JSON at the end instead.
  const silent = argv.includes('--json') ? { writeErr: () => {} } : {}
  for (const add of families) add(program)
  overrideExits(program, silent)
  return program
}

/** Whatever else the command line has, as with `--help`. */
function tellVersion(json: boolean): never {
  const version = cloisterVersion()
  createPrinter({ json }).result({ version }, () => version)
  throw new CommanderError(0, 'commander.version', version)
}

/** Every level of commands ends by an error that main tells, and never by itself. */
function overrideExits(command: Command, output: OutputConfiguration): void {
  command.exitOverride().configureOutput(output)
  for (const nested of command.commands) overrideExits(nested, output)
}
