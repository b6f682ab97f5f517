import { isWeak, type PostgresOptions, readPostgresUrl } from '@cloister/kms/server'
import type { Command } from 'commander'
import type { Session } from './session.ts'
import { UsageError } from './usage-error.ts'

/** Flags that say where a key service's database is. */
export interface DatabaseFlags {
  readonly database?: string
  readonly databasePasswordFile?: string
  readonly allowWeakDatabaseTls?: true
}

/** Adds the flags of {@link DatabaseFlags} to a command. */
export function addDatabaseFlags(command: Command): Command {
  return command
    .option(
      '--database <url>',
      'a PostgreSQL database that replicas share, postgres://user@host:port/name (default: kms.db in the data folder)',
    )
    .option(
      '--database-password-file <file>',
      'file that holds the password of the database’s user',
    )
    .option(
      '--allow-weak-database-tls',
      'let sslmode in --database be weaker than verify-full: whoever stands between may read and change what is stored',
    )
}

/**
 * The database that the flags name; undefined where it is the file of the data folder.
 * @throws UsageError, StoreError ADDRESS
 */
export async function databaseFrom(
  flags: DatabaseFlags,
  session: Session,
): Promise<PostgresOptions | undefined> {
  const { allowWeakDatabaseTls, database, databasePasswordFile: passwordFile } = flags
  if (database === undefined) {
    if (passwordFile === undefined && allowWeakDatabaseTls === undefined) return undefined
    throw new UsageError('there is no --database', 'give the address of the database too')
  }
  const postgres = await readPostgresUrl(database, {
    allowWeakTls: allowWeakDatabaseTls === true,
    ...(passwordFile === undefined ? {} : { passwordFile }),
  })
  if (isWeak(postgres)) {
    session.printer.note(
      `THE DATABASE'S CONNECTION IS WEAK (sslmode ${postgres.tls}): whoever stands between may read and change what is stored`,
    )
  }
  return postgres
}
