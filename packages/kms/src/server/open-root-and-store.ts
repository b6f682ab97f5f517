import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { openRootKey, type RootKeeping, type RootKey, StagedRoot } from './root/index.ts'
import {
  type DatabaseOptions,
  openStore,
  type PostgresOptions,
  rootCheckOf,
  type Store,
  StoreError,
} from './store/index.ts'

/** Name of the database's file in the data folder. */
export const DATABASE_FILE = 'kms.db'

/** The root key of a data folder, and all that is under it. */
export interface RootAndStore {
  readonly root: RootKey
  readonly store: Store
}

/** Where what a key service stores is. */
export interface StorePlace {
  /** Folder of the root key; of the database too, where that is a file. */
  readonly dataDir: string
  /** A database of PostgreSQL in place of the file. */
  readonly postgres?: PostgresOptions | undefined
}

const databaseOf = ({ dataDir, postgres }: StorePlace): DatabaseOptions =>
  postgres === undefined ? { path: join(dataDir, DATABASE_FILE) } : { postgres }

/**
 * Whether a rotation of the root key was interrupted after its one commit: the database then belongs
 * to the staged root key.
 * @throws StoreError LOCKED, OPEN; RootKeyError IO
 */
export async function isUnderStagedRoot(place: StorePlace): Promise<boolean> {
  return await new StagedRoot(place.dataDir).isInUse(await rootCheckOf(databaseOf(place)))
}

/**
 * Opens the root key of a data folder and the store under it, making both at first start. Where a
 * rotation of the root key was interrupted, the key that the database belongs to is opened, and put
 * in its place.
 * @param options - `alone`: whether no key service may have the database open meanwhile; `mustExist`:
 * whether nothing is made that is not there
 * @throws RootKeyError, StoreError
 */
export async function openRootAndStore(
  place: StorePlace,
  keeping: RootKeeping,
  options: { readonly alone?: boolean; readonly mustExist?: boolean } = {},
): Promise<RootAndStore> {
  const database = databaseOf(place)
  const staged = new StagedRoot(place.dataDir)
  const check = await rootCheckOf(database)
  const isUnderStaged = await staged.isInUse(check)
  const folder = isUnderStaged ? staged.folder : place.dataDir
  // A file that is there may be damaged; a root key made now would not open it.
  const isNew = 'path' in database ? !existsSync(database.path) : check === undefined
  if (isNew && options.mustExist === true) {
    throw new StoreError('OPEN', 'there is no database of a key service')
  }
  const root = await openRootKey({ ...keeping, folder, mayCreate: isNew })
  try {
    const store = await openStore({ ...database, root, alone: options.alone === true })
    if (isUnderStaged) await staged.settle()
    return { root, store }
  } catch (error) {
    root.dispose()
    throw error
  }
}
