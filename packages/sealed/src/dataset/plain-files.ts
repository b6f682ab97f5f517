import { lstat, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { mismatch, withStorage } from './errors.ts'
import { MAX_PARTS } from './manifest.ts'
import { isPartPath } from './part-path.ts'

/** A plaintext file that is to become a part of a dataset. */
export interface PlainFile {
  /** Where it is. */
  readonly file: string
  /** Where it stands in the dataset. */
  readonly path: string
  readonly sizeBytes: number
}

/**
 * Every file below a folder, in the order of their paths' bytes. A dataset consists of files: a
 * link, a pipe, a socket or a device among them is refused, and nothing is followed.
 * @throws DatasetError `PLAIN_FILE` for what is no file or has a name that no dataset takes, `LIMIT`
 * for more files than a dataset has, `IO`
 */
export async function filesBelow(folder: string): Promise<readonly PlainFile[]> {
  const found: PlainFile[] = []
  await collect(folder, '', found)
  return found.sort((a, b) => Buffer.compare(Buffer.from(a.path), Buffer.from(b.path)))
}

async function collect(folder: string, above: string, found: PlainFile[]): Promise<void> {
  const options = { encoding: 'buffer', withFileTypes: true } as const
  const entries = await withStorage(`reading ${folder}`, () => readdir(folder, options))
  for (const entry of entries) {
    const name = nameFrom(entry.name, folder)
    const [file, path] = [join(folder, name), `${above}${name}`]
    if (!isPartPath(path)) {
      throw mismatch('PLAIN_FILE', `the name of ${file}`, 'one that a dataset takes', path)
    }
    if (entry.isDirectory()) {
      await collect(file, `${path}/`, found)
      continue
    }
    const stats = await withStorage(`reading ${file}`, () => lstat(file))
    if (!stats.isFile()) throw mismatch('PLAIN_FILE', file, 'a file', kindOf(stats))
    found.push({ file, path, sizeBytes: stats.size })
    if (found.length > MAX_PARTS) {
      throw mismatch('LIMIT', `files below ${folder}`, `at most ${MAX_PARTS}`, found.length)
    }
  }
}

function nameFrom(bytes: Uint8Array, folder: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch (cause) {
    const seen = Buffer.from(bytes).toString('latin1')
    throw mismatch('PLAIN_FILE', `a name in ${folder}`, 'UTF-8', seen, { cause })
  }
}

function kindOf(stats: Awaited<ReturnType<typeof lstat>>): string {
  if (stats.isSymbolicLink()) return 'a symbolic link'
  if (stats.isFIFO()) return 'a pipe'
  if (stats.isSocket()) return 'a socket'
  return stats.isDirectory() ? 'a folder' : 'a device'
}
