import { findLock, lockPackages, lockPath, readDefinition, writeLock } from '@cloister/enclave'
import type { Command } from 'commander'
import { type GlobalFlags, Session } from '../session.ts'
import { openStore } from './packages.ts'
import { mebibytes } from './sizes.ts'

interface Flags extends GlobalFlags {
  readonly update?: boolean
}

/** `cloister enclave lock`: every package by its SHA-256. */
export function addLockCommand(enclave: Command): void {
  enclave
    .command('lock')
    .description('fix every package of a definition by its SHA-256, and fetch it into the store')
    .argument('[definition]', 'the definition', 'enclave.yaml')
    .option('--update', 'look for newer packages although nothing else is wanted')
    .addHelpText(
      'after',
      `
Packages come through this machine's own apt, pip, npm and Maven, with their mirrors and settings.
While the definition wants the same, the lock stays as it is, and only what the store lacks is
fetched.

Examples:
  cloister enclave lock
  cloister enclave lock --update jobs/enclave.yaml`,
    )
    .action(async (definitionFile: string, _flags, command: Command) => {
      const flags = command.optsWithGlobals<Flags>()
      const session = new Session(flags)
      const file = lockPath(definitionFile)
      const { lock, kept, withScripts } = await lockPackages({
        ...(await readDefinition(definitionFile)),
        store: await openStore(session),
        // One that was edited by hand is no start for an update either: it is refused here.
        previous: await findLock(file),
        update: flags.update === true,
        onFetch: what => session.printer.note(`fetching ${what} ...`),
      })
      if (!kept) await writeLock(file, lock)
      const sizeBytes = lock.artefacts.reduce((sum, { size }) => sum + size, 0)
      for (const name of withScripts) {
        session.printer.note(`${name} has an install script, which was not run`)
      }
      const result = { file, kept, packages: lock.artefacts.length, sizeBytes, withScripts }
      session.printer.result(
        result,
        () =>
          `${file}${kept ? ' stays as it is' : ''}: ${lock.artefacts.length} packages, ${mebibytes(sizeBytes)}`,
      )
    })
}
