import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { linkDestination } from '../archive/entry.ts'
import { ORIGINS_FILE } from '../documents/file-names.ts'
import { type OriginPackage, type Origins, parseOrigins } from '../documents/origins.ts'
import { ImageError } from './errors.ts'
import { documentDigest, type ImageEntry, type ImageManifest } from './manifest.ts'
import { openImage } from './verify.ts'

/** Why one thing is in an image. */
export interface Explanation {
  /** Absolute path in the image. */
  readonly path: string
  readonly type: ImageEntry['type']
  readonly sizeBytes: number
  /** What put it there; see {@link explainImage}. */
  readonly rule: string
  /** The same in words. */
  readonly because: string
  readonly package?: OriginPackage
  /** Of links: where it leads, an absolute path. */
  readonly leadsTo?: string
  /** What needs it: some, and how many in all. */
  readonly neededBy?: readonly string[]
  readonly neededByCount?: number
}

/** What one package, or the definition, contributes to an image. */
export interface Contribution {
  /** Package name and version, or a rule. */
  readonly from: string
  readonly purl?: string
  readonly files: number
  readonly sizeBytes: number
}

const WORDS: Readonly<Record<string, string>> = {
  library: 'a program or library of the image loads it',
  'link-target': 'a link of the image leads to it',
  entry: 'a command of the image begins with it',
  licence: 'licence of a package of which something is in the image',
  substitute: 'a maintainer script would have made it, and none is run',
  bytecode: 'compiled from the Python module beside it: the image is read-only',
  cloister: 'Cloister puts it in every image',
  mounts: 'something is mounted here',
}

function inWords(rule: string): string {
  return WORDS[rule] ?? `${rule} of the definition asks for it`
}

/** An image's measured statement of why each file is in it. @throws ImageError */
export async function readOrigins(
  folder: string,
): Promise<{ readonly manifest: ImageManifest; readonly origins: Origins }> {
  const { manifest, folder: path } = await openImage(folder)
  const bytes = await readFile(join(path, ORIGINS_FILE)).catch((cause: unknown) => {
    throw new ImageError('MISSING', `${path} has no ${ORIGINS_FILE}`, { cause })
  })
  const seen = documentDigest(bytes)
  if (seen !== manifest.documents.origins) {
    const message = `${ORIGINS_FILE}: wanted SHA-256 ${manifest.documents.origins}, seen ${seen}`
    throw new ImageError('CHANGED', message)
  }
  return { manifest, origins: parseOrigins(bytes) }
}

function explain(entry: ImageEntry, origins: Origins): Explanation {
  const found = origins.entries[entry.path]
  const rule = found?.rule ?? 'parent'
  const from = found?.package === undefined ? undefined : origins.packages[found.package]
  const leadsTo = entry.type === 'link' ? linkDestination(entry.path, entry.target) : undefined
  return {
    path: `/${entry.path}`,
    type: entry.type,
    sizeBytes: entry.type === 'file' ? entry.size : 0,
    rule,
    because: rule === 'parent' ? 'something is in it' : inWords(rule),
    ...(from === undefined ? {} : { package: from }),
    ...(leadsTo === undefined ? {} : { leadsTo: `/${leadsTo}` }),
    ...(found?.neededBy === undefined ? {} : { neededBy: found.neededBy }),
    ...(found?.neededByCount === undefined ? {} : { neededByCount: found.neededByCount }),
  }
}

/**
 * Says why a file, or everything in a folder, is in an image. What is said was measured with it.
 * @param path - Absolute path in the image; everything where none is given.
 * @throws ImageError; with `ABSENT` for a path that the image does not have
 */
export async function explainImage(folder: string, path = '/'): Promise<readonly Explanation[]> {
  const { manifest, origins } = await readOrigins(folder)
  const wanted = path.replace(/^\/+/, '').replace(/\/+$/, '')
  const entries = manifest.files.filter(
    entry => wanted === '' || entry.path === wanted || entry.path.startsWith(`${wanted}/`),
  )
  if (entries.length === 0) throw new ImageError('ABSENT', `/${wanted} is not in the image`)
  return entries
    .filter(({ type, path: at }) => type !== 'dir' || at === wanted)
    .map(entry => explain(entry, origins))
}

/** What contributes how much to some explained files, the largest first. */
export function contributions(explanations: readonly Explanation[]): readonly Contribution[] {
  const sums = new Map<string, { purl?: string; files: number; sizeBytes: number }>()
  for (const { package: from, rule, sizeBytes, type } of explanations) {
    if (type !== 'file') continue
    const name = from === undefined ? rule : `${from.name} ${from.version}`
    const sum = sums.get(name) ?? { ...(from && { purl: from.purl }), files: 0, sizeBytes: 0 }
    sums.set(name, { ...sum, files: sum.files + 1, sizeBytes: sum.sizeBytes + sizeBytes })
  }
  return [...sums]
    .map(([from, sum]) => ({ from, ...sum }))
    .sort((a, b) => b.sizeBytes - a.sizeBytes)
}
