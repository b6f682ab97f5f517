import { spawn } from 'node:child_process'
import { ArchiveBudget } from '../archive/budget.ts'
import { linkDestination } from '../archive/entry.ts'
import { readTar } from '../archive/tar.ts'
import { debFields } from '../lock/deb-fields.ts'
import { LockError } from '../lock/errors.ts'
import type { Artefact } from '../lock/format.ts'
import type { Store } from '../store/store.ts'
import { mergedPath } from './merged-path.ts'
import { TreeBuilder } from './tree-builder.ts'

/**
 * Unpacks a Debian package. Its maintainer scripts are not run, and nothing is written by its paths.
 * @throws LockError ARCHIVE, ARTEFACT_IDENTITY, TOOL
 */
export async function unpackDeb(
  artefact: Artefact & { readonly kind: 'deb' },
  store: Store,
): Promise<TreeBuilder> {
  const name = `${artefact.name} ${artefact.version}`
  const path = store.path(artefact.sha256)
  await assertIdentity(artefact, path)
  const builder = new TreeBuilder(name, artefact.sha256, store)
  const budget = new ArchiveBudget(name, artefact.size)
  const child = spawn('dpkg-deb', ['--fsys-tarfile', path], { stdio: ['ignore', 'pipe', 'pipe'] })
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', resolve)
  })
  ended.catch(() => undefined)
  let said = ''
  child.stderr.on('data', (bytes: Buffer) => {
    said = `${said}${bytes}`.slice(-2000)
  })
  try {
    for await (const entry of readTar(name, child.stdout, budget)) {
      const place = mergedPath(entry.path)
      if (entry.type === 'hardlink') {
        const target = linkDestination('', `/${entry.target.replace(/^\.?\//, '')}`)
        builder.copy(place, mergedPath(target ?? ''))
      } else if (entry.type === 'symlink') {
        const destination = linkDestination(entry.path, entry.target)
        builder.link(
          place,
          destination === undefined ? entry.target : `/${mergedPath(destination)}`,
        )
      } else {
        await builder.add(place, entry)
      }
    }
  } finally {
    child.kill()
  }
  const code = await ended.catch((cause: unknown) => {
    throw new LockError('TOOL', 'dpkg-deb cannot be run: install dpkg', { cause })
  })
  if (code !== 0)
    throw new LockError('ARCHIVE', `${name}: dpkg-deb ended with ${code}: ${said.trim()}`)
  return builder
}

/** A lock that was edited by hand may name another package than lies under its digest. */
async function assertIdentity(
  artefact: Artefact & { readonly kind: 'deb' },
  path: string,
): Promise<void> {
  const fields = await debFields(path)
  const seen = `${fields.name} ${fields.version} ${fields.architecture}`
  const wanted = `${artefact.name} ${artefact.version} ${artefact.architecture}`
  if (seen !== wanted) {
    throw new LockError('ARTEFACT_IDENTITY', `${artefact.sha256}: wanted ${wanted}, seen ${seen}`)
  }
}
