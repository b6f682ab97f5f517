import { lstat, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Finding } from './finding.ts'

const WHAT = 'private files'

/**
 * Whether a folder and what is in it are its owner's alone.
 * @param folder - With credentials, keys or a database
 * @param isPublic - Names that anybody may read, though nobody else may write them
 */
export async function privateFileFindings(
  folder: string,
  isPublic: (name: string) => boolean,
): Promise<readonly Finding[]> {
  const findings = await pathFindings(folder, 'go-rwx')
  if (findings === 'absent')
    return [{ what: WHAT, state: 'weak', detail: `${folder} is not there` }]
  for (const name of (await readdir(folder)).sort()) {
    const more = await pathFindings(join(folder, name), isPublic(name) ? 'go-w' : 'go-rwx')
    if (more !== 'absent') findings.push(...more)
  }
  if (findings.length > 0) return findings
  return [{ what: WHAT, state: 'good', detail: `${folder} is yours alone` }]
}

const BITS = { 'go-rwx': 0o077, 'go-w': 0o022 } as const

/** How a path is open to others than this user. @param less - What others are not to have */
async function pathFindings(path: string, less: keyof typeof BITS): Promise<Finding[] | 'absent'> {
  const stats = await lstat(path).catch(() => undefined)
  if (stats === undefined) return 'absent'
  // What a link names is protected where it stands.
  if (stats.isSymbolicLink()) return []
  const weak = (detail: string): Finding[] => [{ what: WHAT, state: 'weak', detail }]
  if (stats.uid !== process.getuid?.() && stats.uid !== 0) {
    return weak(`${path} belongs to another user`)
  }
  if ((stats.mode & BITS[less]) === 0) return []
  const mode = (stats.mode & 0o777).toString(8)
  return weak(`${path} is open to others (mode ${mode}): chmod ${less} ${path}`)
}
