import { join } from 'node:path'
import { backUp, restore } from '@cloister/kms/server'
import type { Command } from 'commander'
import { addDatabaseFlags, type DatabaseFlags, databaseFrom } from '../database-flags.ts'
import { requireAbsent } from '../files/require-absent.ts'
import { ROOT_KEY_HELP, rootKeepingFrom } from '../root-keeping.ts'
import { type GlobalFlags, Session } from '../session.ts'
import { simulatedPlatform } from '../simulated-platform.ts'
import { UsageError } from '../usage-error.ts'

interface BackupFlags extends GlobalFlags {
  readonly data?: string
  readonly out: string
}

interface RestoreFlags extends GlobalFlags, DatabaseFlags {
  readonly data?: string
  readonly in?: string
  readonly inPlace?: true
  readonly rootKey: string
  readonly witness?: string
  readonly allowSimulatedPlatform?: true
}

/** `cloister kms backup | restore`. */
export function addBackupCommands(kms: Command): void {
  kms
    .command('backup')
    .description('copy the database of a key service, also while it runs; not its root key')
    .option('--data <folder>', 'its database and keys (default: kms in the home folder)')
    .requiredOption('--out <file>', 'to be written; nothing that is there is written over')
    .addHelpText(
      'after',
      `
The copy is wrapped and MACed as the database is. IT IS WORTH NOTHING WITHOUT THE ROOT KEY, which is not
in it: keep root.key or root.json, and what opens it, elsewhere. Of PostgreSQL pg_dump makes backups.

Examples:
  cloister kms backup --out /backup/kms-2026-01-01.db
  cloister kms backup --data /var/lib/cloister --out /backup/kms.db`,
    )
    .action(async (_flags, command: Command) => {
      const flags = command.optsWithGlobals<BackupFlags>()
      const session = new Session(flags)
      const dataDir = flags.data ?? join(session.home.folder, 'kms')
      await requireAbsent(flags.out)
      const content = await backUp({ dataDir, out: flags.out })
      session.printer.note(
        'THE ROOT KEY IS NOT IN IT: without root.key or root.json, and what opens it, this backup is worth nothing',
      )
      session.printer.result({ file: flags.out, ...content, holdsRootKey: false }, () => {
        return `${flags.out}: the database with ${content.logSize} rows of the audit log`
      })
    })

  const restoring = kms
    .command('restore')
    .description('go on with a backup, and say so in the audit log; while the key service is down')
    .option('--data <folder>', 'its database and keys (default: kms in the home folder)')
    .option('--in <file>', 'a backup, put in the data folder, where no database is')
    .option('--in-place', 'the database that is there was put back already')
  addDatabaseFlags(restoring)
    .option('--root-key <how>', `how the root key is kept: ${ROOT_KEY_HELP}`, 'file')
    .option('--witness <path>', 'the witness of kms serve, to be begun anew')
    .option(
      '--allow-simulated-platform',
      "open a root key sealed to this home's simulated TEE, which protects nothing",
    )
    .addHelpText(
      'after',
      `
Whatever was done after the backup is lost: keys and heads made since are gone, and keys disabled,
policies and credentials taken back since are as they were. Look at them before you serve again.
Clients that saw the newer log refuse this one until they are told: cloister audit accept-restored.

Examples:
  cloister kms restore --in /backup/kms.db --witness /mnt/witness/checkpoint
  cloister kms restore --in-place --database postgres://kms@db.example/kms`,
    )
    .action(async (_flags, command: Command) => {
      const flags = command.optsWithGlobals<RestoreFlags>()
      await runRestore(new Session(flags), flags)
    })
}

async function runRestore(session: Session, flags: RestoreFlags): Promise<void> {
  const { in: from, inPlace, witness } = flags
  const postgres = await databaseFrom(flags, session)
  if ((from === undefined) === (inPlace === undefined)) {
    throw new UsageError(
      '--in or --in-place: one of the two',
      'give a backup, or say that it is there',
    )
  }
  if (from !== undefined && postgres !== undefined) {
    throw new UsageError(
      '--in is for the file of the data folder',
      'use pg_restore, then --in-place',
    )
  }
  const dataDir = flags.data ?? join(session.home.folder, 'kms')
  const platform =
    flags.allowSimulatedPlatform === true ? await simulatedPlatform(session.home) : undefined
  const restored = await restore({
    dataDir,
    rootKey: await rootKeepingFrom('--root-key', flags.rootKey, platform),
    ...(postgres === undefined ? {} : { postgres }),
    ...(from === undefined ? {} : { from }),
    ...(witness === undefined ? {} : { witness }),
  })
  session.printer.note(
    'WHAT WAS DONE AFTER THE BACKUP IS LOST: look at keys, policies and credentials before you serve again',
  )
  session.printer.result({ dataDir, ...restored }, () => {
    const { logSize, witnessed } = restored
    const lost =
      witnessed === undefined || witnessed <= logSize
        ? ''
        : `; ${witnessed - logSize} rows that the witness had seen are lost`
    return `restored to the first ${logSize} rows of the audit log${lost}
  tell those who use it: cloister audit accept-restored --rows ${logSize}`
  })
}
