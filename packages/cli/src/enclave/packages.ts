import { join } from 'node:path'
import {
  type DefinitionFile,
  isLocked,
  type LockedPackages,
  lockPath,
  readLock,
  Store,
} from '@cloister/enclave'
import type { Session } from '../session.ts'

/** The store of the person's home. */
export async function openStore(session: Session): Promise<Store> {
  return await Store.open(join(session.home.folder, 'store'))
}

/** The locked packages of a definition; undefined where it names none. */
export async function packagesOf(
  session: Session,
  definitionFile: string,
  { definition, baseDir }: DefinitionFile,
): Promise<LockedPackages | undefined> {
  if (!isLocked(definition)) return undefined
  const lock = await readLock(lockPath(definitionFile), definition, baseDir)
  return { lock, store: await openStore(session) }
}
