import type { Command } from 'commander'
import { type AddCommands, programOf } from './program-of.ts'
import { asksVersion, commandIn } from './start/command-in.ts'

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
  {
    names: ['contained'],
    load: async () => (await import('./commands/contained.ts')).addContainedCommand,
  },
  {
    names: ['executor'],
    load: async () => (await import('./commands/executor.ts')).addExecutorCommand,
  },
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
 * @param argv - Node's; where a command is named in it, only its family is loaded, and none for the version.
 */
export async function createProgram(argv: readonly string[] = []): Promise<Command> {
  const families: AddCommands[] = []
  for (const { load } of familiesFor(argv)) families.push(await load())
  return programOf(families, argv)
}

function familiesFor(argv: readonly string[]): readonly Family[] {
  if (asksVersion(argv)) return []
  const wanted = commandIn(argv)
  const named = FAMILIES.filter(({ names }) => wanted !== undefined && names.includes(wanted))
  return named.length > 0 ? named : FAMILIES
}
