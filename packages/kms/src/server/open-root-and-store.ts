import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { openRootKey, type RootKeeping, type RootKey, StagedRoot } from './root/index.ts'
import { openStore, rootCheckOf, type Store } from './store/index.ts'

/** Name of the database's file in the data folder. */
const DATABASE_FILE = 'kms.db'

/** The root key of a data folder, and all that is under it. */
export interface RootAndStore {
  readonly root: RootKey
  readonly store: Store
}

/**
 * Whether a rotation of the root key was interrupted after its one commit: the database then belongs
 * to the staged root key.
 * @throws StoreError LOCKED, OPEN; RootKeyError IO
 */
export async function isUnderStagedRoot(dataDir: string): Promise<boolean> {
  return await new StagedRoot(dataDir).isInUse(await rootCheckOf(join(dataDir, DATABASE_FILE)))
}

/**
 * Opens the root key of a data folder and the store under it, making both at first start. Where a
 * rotation of the root key was interrupted, the key that the database belongs to is opened, and put
 * in its place.
 * @throws RootKeyError, StoreError
 */
export async function openRootAndStore(
  dataDir: string,
  keeping: RootKeeping,
): Promise<RootAndStore> {
  const path = join(dataDir, DATABASE_FILE)
  const staged = new StagedRoot(dataDir)
  const isUnderStaged = await isUnderStagedRoot(dataDir)
  const folder = isUnderStaged ? staged.folder : dataDir
  const root = await openRootKey({ ...keeping, folder, mayCreate: !existsSync(path) })
  try {
    const store = await openStore({ path, root })
    if (isUnderStaged) await staged.settle()
    return { root, store }
  } catch (error) {
    root.dispose()
    throw error
  }
}
