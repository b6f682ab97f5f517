import { Command, type OutputConfiguration } from 'commander'

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
    .showSuggestionAfterError()
    .showHelpAfterError('(--help shows what can be given)')
    .exitOverride()
  // Told as JSON at the end instead.
  const silent = argv.includes('--json') ? { writeErr: () => {} } : {}
  for (const add of families) add(program)
  overrideExits(program, silent)
  return program
}

/** Every level of commands ends by an error that main tells, and never by itself. */
function overrideExits(command: Command, output: OutputConfiguration): void {
  command.exitOverride().configureOutput(output)
  for (const nested of command.commands) overrideExits(nested, output)
}
