import { existsSync } from 'node:fs'
import { chmod, copyFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { AuditLog, openLogKey, Witness } from './audit/index.ts'
import { openIdentity } from './identity/stored-identity.ts'
import { StoredToken, TOKEN_FILES } from './identity/stored-token.ts'
import { DATABASE_FILE, openRootAndStore, type StorePlace } from './open-root-and-store.ts'
import { noteRestored } from './restored.ts'
import type { RootKeeping } from './root/index.ts'
import { type BackupContent, backUpSqlite, SealedSecrets, StoreError } from './store/index.ts'

/**
 * Copies the database of a data folder to a new file, also while the key service runs. The root key
 * is not in it.
 * @throws StoreError OPEN
 */
export async function backUp(options: {
  readonly dataDir: string
  readonly out: string
}): Promise<BackupContent> {
  return await backUpSqlite(join(options.dataDir, DATABASE_FILE), options.out)
}

/** Options of {@link restore}. */
export interface RestoreOptions extends StorePlace {
  readonly rootKey: RootKeeping
  /** A backup to put in the data folder; without it, what is there is taken for restored. */
  readonly from?: string
  /** What saw the log of before, to be begun anew. */
  readonly witness?: string
}

/** What a restored database is. */
export interface Restored {
  /** Rows that the audit log had in the backup; row number `logSize` says that it was restored. */
  readonly logSize: number
  /** Rows that the witness has seen: those above `logSize` are lost. */
  readonly witnessed?: number
}

/**
 * Takes a database for the one to go on with although a newer one was: puts a backup in a data folder,
 * or takes the database that somebody has put back already. Every row is proven first; then the audit
 * log says that it was restored. No key service may run meanwhile.
 * @throws RootKeyError MISSING and others; StoreError OPEN where there is a
 * database already; ROW_MAC, LOCKED and others
 */
export async function restore(options: RestoreOptions): Promise<Restored> {
  const { dataDir, from, postgres } = options
  if (from === undefined || postgres !== undefined) return await accept(options)
  const path = join(dataDir, DATABASE_FILE)
  if (existsSync(path)) {
    throw new StoreError('OPEN', `${path} is there: move it away, with the files beside it, first`)
  }
  try {
    await copyFile(from, path)
    await chmod(path, 0o600)
    return await accept(options)
  } catch (error) {
    // Nothing that was not proven is left to be started with.
    for (const suffix of ['', '-wal', '-shm', '.lock', '.lock-journal'])
      await rm(`${path}${suffix}`, { force: true })
    throw error
  }
}

async function accept(options: RestoreOptions): Promise<Restored> {
  const { dataDir, postgres, witness } = options
  const { root, store } = await openRootAndStore(options, options.rootKey, {
    alone: true,
    mustExist: true,
  })
  try {
    const at = store.now()
    const secrets = new SealedSecrets(root)
    const identity = await openIdentity(store, secrets, at)
    const audit = new AuditLog()
    const logKey = await openLogKey(store, secrets, identity.kmsId)
    const { size: logSize } = await store.read(tx => audit.root(tx))
    const watched = { store, audit, logKey, isShared: postgres !== undefined }
    await store.write(async tx => {
      await noteRestored(tx, secrets, at)
      // Those in the backup may have been used since, or replaced for being in other hands.
      for (const name of TOKEN_FILES) {
        await new StoredToken(store, secrets, dataDir, name).replace(tx)
      }
      await audit.append(tx, {
        at: at.toISOString(),
        actor: 'kms',
        action: 'restore',
        outcome: 'done',
        reasons: [],
        rows: logSize,
      })
    })
    const kept = witness === undefined ? undefined : await Witness.startAnew(witness, watched)
    return { logSize, ...(kept === undefined ? {} : { witnessed: kept.size }) }
  } finally {
    await store.close()
    root.dispose()
  }
}
