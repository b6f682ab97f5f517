import { Command, type OutputConfiguration } from 'commander'

type AddCommands = (program: Command) => void

interface Family {
  readonly names: readonly string[]
  readonly load: () => Promise<AddCommands>
}

/** The commands, in the order of the help. Loading them all takes most of a second. */
const FAMILIES: readonly Family[] = [
  { names: ['demo'], load: async () => (await import('./commands/demo.ts')).addDemoCommand },
  { names: ['kms'], load: async () => (await import('./commands/kms.ts')).addKmsCommands },
  { names: ['key'], load: async () => (await import('./commands/key.ts')).addKeyCommands },
  {
    names: ['tenant', 'account', 'credential'],
    load: async () => (await import('./commands/accounts.ts')).addAccountCommands,
  },
  { names: ['audit'], load: async () => (await import('./commands/audit.ts')).addAuditCommands },
  { names: ['policy'], load: async () => (await import('./commands/policy.ts')).addPolicyCommands },
  {
    names: ['encrypt', 'decrypt', 'rewrap'],
    load: async () => (await import('./commands/dataset.ts')).addDatasetCommands,
  },
  {
    names: ['enroll', 'generatekeys', 'generatekey', 'verify', 'register'],
    load: async () => (await import('./commands/older.ts')).addOlderCommands,
  },
  {
    names: ['enclave'],
    load: async () => (await import('./commands/enclave.ts')).addEnclaveCommands,
  },
  { names: ['run'], load: async () => (await import('./commands/run.ts')).addRunCommand },
  { names: ['sql'], load: async () => (await import('./commands/sql.ts')).addSqlCommand },
  {
    names: ['receipt'],
    load: async () => (await import('./commands/receipt.ts')).addReceiptCommands,
  },
  { names: ['attest'], load: async () => (await import('./commands/attest.ts')).addAttestCommands },
  { names: ['pccs'], load: async () => (await import('./commands/pccs.ts')).addPccsCommands },
  {
    names: ['cluster'],
    load: async () => (await import('./commands/cluster.ts')).addClusterCommands,
  },
  { names: ['doctor'], load: async () => (await import('./commands/doctor.ts')).addDoctorCommand },
]

/**
 * The `cloister` command. Parses, calls, prints; no logic of its own.
 * @param argv - Node's; where a command is named in it, only its family is loaded.
 */
export async function createProgram(argv: readonly string[] = []): Promise<Command> {
  const program = new Command('cloister')
    .description('run jobs on data that is plaintext only inside an attested enclave')
    .option('--home <folder>', 'where credentials and keys are kept (default: ~/.cloister)')
    .option('--json', 'print results and errors as JSON')
    .showSuggestionAfterError()
    .showHelpAfterError('(--help shows what can be given)')
    .exitOverride()
  // Told as JSON at the end instead.
  const silent = argv.includes('--json') ? { writeErr: () => {} } : {}
  const wanted = commandIn(argv)
  const named = FAMILIES.filter(({ names }) => wanted !== undefined && names.includes(wanted))
  for (const { load } of named.length > 0 ? named : FAMILIES) {
    const add = await load()
    add(program)
  }
  overrideExits(program, silent)
  return program
}

/** The first word that is no option: nested commands have the names of others. */
function commandIn(argv: readonly string[]): string | undefined {
  const words = argv.slice(2)
  return words.find((word, at) => !word.startsWith('-') && words[at - 1] !== '--home')
}

/** Every level of commands ends by an error that main tells, and never by itself. */
function overrideExits(command: Command, output: OutputConfiguration): void {
  command.exitOverride().configureOutput(output)
  for (const nested of command.commands) overrideExits(nested, output)
}
