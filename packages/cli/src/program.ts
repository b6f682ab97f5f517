import { Command } from 'commander'
import { addDatasetCommands } from './commands/dataset.ts'
import { addDemoCommand } from './commands/demo.ts'
import { addDoctorCommand } from './commands/doctor.ts'
import { addEnclaveCommands } from './commands/enclave.ts'
import { addKeyCommands } from './commands/key.ts'
import { addKmsCommands } from './commands/kms.ts'
import { addPolicyCommands } from './commands/policy.ts'
import { addReceiptCommands } from './commands/receipt.ts'
import { addRunCommand } from './commands/run.ts'
import { addSqlCommand } from './commands/sql.ts'

/** The `cloister` command with all its sub-commands. Parses, calls, prints; no logic of its own. */
export function createProgram(): Command {
  const program = new Command('cloister')
    .description('run jobs on data that is plaintext only inside an attested enclave')
    .option('--home <folder>', 'where credentials and keys are kept (default: ~/.cloister)')
    .option('--json', 'print results and errors as JSON')
    .showSuggestionAfterError()
    .showHelpAfterError('(--help shows what can be given)')
    .exitOverride()
  addDemoCommand(program)
  addKmsCommands(program)
  addKeyCommands(program)
  addPolicyCommands(program)
  addDatasetCommands(program)
  addEnclaveCommands(program)
  addRunCommand(program)
  addSqlCommand(program)
  addReceiptCommands(program)
  addDoctorCommand(program)
  for (const command of program.commands) {
    command.exitOverride()
    for (const nested of command.commands) nested.exitOverride()
  }
  return program
}
