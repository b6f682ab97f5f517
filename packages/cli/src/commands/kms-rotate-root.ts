import { join } from 'node:path'
import { rotateRoot } from '@cloister/kms/server'
import type { Command } from 'commander'
import { addDatabaseFlags, type DatabaseFlags, databaseFrom } from '../database-flags.ts'
import { ROOT_KEY_HELP, rootKeepingFrom } from '../root-keeping.ts'
import { type GlobalFlags, Session } from '../session.ts'
import { simulatedPlatform } from '../simulated-platform.ts'

interface RotateRootFlags extends GlobalFlags, DatabaseFlags {
  readonly data?: string
  readonly rootKey: string
  readonly newRootKey?: string
  readonly allowSimulatedPlatform?: true
}

/** `cloister kms rotate-root`. */
export function addRotateRootCommand(kms: Command): void {
  const rotating = kms
    .command('rotate-root')
    .description('give a key service that does not run another root key')
    .option('--data <folder>', 'its database and keys (default: kms in the home folder)')
  addDatabaseFlags(rotating)
    .option('--root-key <how>', `how the root key is kept: ${ROOT_KEY_HELP}`, 'file')
    .option('--new-root-key <how>', 'how the new one is to be kept (default: as before)')
    .option(
      '--allow-simulated-platform',
      "seal to this home's simulated TEE, which protects nothing",
    )
    .addHelpText(
      'after',
      `
Everything that the key service stores is wrapped and MACed anew. Whenever it is interrupted nothing
is lost: the same command again ends it. Of a database that replicas share none may run meanwhile; the
root key's file goes to each of them afterwards.

Examples:
  cloister kms rotate-root
  cloister kms rotate-root --new-root-key passphrase:/run/secrets/root
  cloister kms rotate-root --data /var/lib/cloister --root-key passphrase:old --new-root-key passphrase:new`,
    )
    .action(async (_flags, command: Command) => {
      const flags = command.optsWithGlobals<RotateRootFlags>()
      const session = new Session(flags)
      const dataDir = flags.data ?? join(session.home.folder, 'kms')
      const newRootKey = flags.newRootKey ?? flags.rootKey
      const platform =
        flags.allowSimulatedPlatform === true ? await simulatedPlatform(session.home) : undefined
      if (platform !== undefined) {
        session.printer.note('SIMULATED TEE ALLOWED: it protects nothing from its host')
      }
      const postgres = await databaseFrom(flags, session)
      const done = await rotateRoot({
        dataDir,
        ...(postgres === undefined ? {} : { postgres }),
        from: await rootKeepingFrom('--root-key', flags.rootKey, platform),
        to: await rootKeepingFrom('--new-root-key', newRootKey, platform),
        at: new Date(),
      })
      session.printer.result({ done, dataDir, kept: newRootKey.replace(/:.*/s, '') }, () =>
        done === 'rotated'
          ? `the key service in ${dataDir} has another root key; backups made before need the one before`
          : `a rotation that had been interrupted is at its end; run it again for another root key`,
      )
    })
}
