import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { canonicalJsonBytes } from '@cloister/sealed'
import type { Contents } from './contents.ts'

/**
 * A CycloneDX document of an instance's files, each by its SHA-256: for what brings no SBOM of its
 * own. It says what is there, not which packages that came from.
 * @see CycloneDX v1.6, component type `file`
 */
export async function filesSbom({ name, files, identity }: Contents): Promise<Uint8Array> {
  const components = []
  for (const entry of [...files, ...identity]) {
    if (entry.type !== 'file') continue
    const content = createHash('sha256')
      .update(await readFile(entry.from))
      .digest('hex')
    components.push({ type: 'file', name: `/${entry.path}`, hashes: [{ alg: 'SHA-256', content }] })
  }
  return canonicalJsonBytes({
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    version: 1,
    metadata: { component: { type: 'application', name } },
    components,
  })
}
