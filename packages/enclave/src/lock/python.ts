import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Store } from '../store/store.ts'
import { LockError } from './errors.ts'
import type { ArtefactOf } from './format.ts'
import { normalizedProject } from './project-name.ts'
import { pypiPurl } from './purl.ts'
import { toolOutput } from './tool.ts'

/** Newest glibc that Debian 12 has, by its minor version; wheels may ask for any older one. */
const GLIBC_MINOR = 36
/** The oldest that wheels are named after. @see PEP 513 */
const OLDEST_GLIBC_MINOR = 5

const PLATFORMS = [
  ...Array.from(
    { length: GLIBC_MINOR - OLDEST_GLIBC_MINOR + 1 },
    (_, index) => `manylinux_2_${GLIBC_MINOR - index}_x86_64`,
  ),
  ...['manylinux2014_x86_64', 'manylinux2010_x86_64', 'manylinux1_x86_64', 'linux_x86_64'],
]

const PLAIN = /^[A-Za-z0-9][A-Za-z0-9._-]*\s*(?:\[[A-Za-z0-9._,\s-]*\])?\s*(?:[(~=!<>;]|$)/

/**
 * Checks that a list of requirements names projects and versions and nothing else: other lists,
 * URLs, folders, editable installs and other indexes are not for it to say.
 * @returns whether it bears hashes
 * @throws LockError REQUIREMENTS with file and line
 */
export function assertPlainRequirements(text: string, name: string): boolean {
  let hashed = false
  // A line that ends in a backslash goes on; the number of its first line is told.
  const lines = text.replaceAll(/\\\r?\n/g, '\u0000').split(/\r?\n/)
  let number = 1
  for (const joined of lines) {
    const line = joined
      .replaceAll('\u0000', ' ')
      .replace(/(?:^|\s)#.*$/, '')
      .trim()
    const hashes = [...line.matchAll(/\s--hash=sha256:[0-9a-f]{64}(?=\s|$)/g)].length
    const rest = line.replaceAll(/\s--hash=sha256:[0-9a-f]{64}(?=\s|$)/g, '').trim()
    if (rest !== '' && (!PLAIN.test(rest) || rest.includes('--') || rest.includes('://'))) {
      const message = `${name}:${number}: wanted a project, a version and hashes; seen ${JSON.stringify(rest.slice(0, 80))}`
      throw new LockError('REQUIREMENTS', message)
    }
    if (hashes > 0) hashed = true
    number += 1 + joined.split('\u0000').length - 1
  }
  return hashed
}

/** What to fetch. */
export interface PythonRequest {
  /** Text of the requirements. */
  readonly requirements: string
  /** Name of their file, for messages. */
  readonly name: string
  /** Such as 3.11. */
  readonly version: string
  /** Whether what the requirements need in turn is left out: they are complete. */
  readonly complete: boolean
}

/**
 * Fetches wheels for the image's Python by pip, from this machine's index. Wheels alone: nothing of
 * a package is run. Where requirements bear hashes, pip demands one of each.
 * @throws LockError REQUIREMENTS, TOOL, DOWNLOAD
 */
export async function fetchWheels(
  { requirements, name, version, complete }: PythonRequest,
  store: Store,
): Promise<readonly ArtefactOf<'wheel'>[]> {
  const hashed = assertPlainRequirements(requirements, name)
  return await store.withTemporaryFolder(async folder => {
    const file = join(folder, 'requirements.txt')
    await writeFile(file, requirements)
    const tag = `cp${version.replace('.', '')}`
    await toolOutput(
      'python3',
      [
        ...['-m', 'pip', 'download', '--quiet', '--disable-pip-version-check', '--no-input'],
        ...['--only-binary', ':all:', '--implementation', 'cp', '--python-version', version],
        ...['--abi', tag, '--abi', 'abi3', '--abi', 'none'],
        ...PLATFORMS.flatMap(platform => ['--platform', platform]),
        ...(hashed ? ['--require-hashes'] : []),
        ...(complete ? ['--no-deps'] : []),
        ...['--dest', join(folder, 'wheels'), '--requirement', file],
      ],
      { cwd: folder, package: 'python3-pip' },
    )
    const wheels: ArtefactOf<'wheel'>[] = []
    const files = await readdir(join(folder, 'wheels')).catch(() => [])
    for (const wheel of files.sort()) wheels.push(await taken(wheel, join(folder, 'wheels'), store))
    return wheels
  })
}

async function taken(file: string, folder: string, store: Store): Promise<ArtefactOf<'wheel'>> {
  // PEP 427: name, version, perhaps a build number, three tags.
  const [, name, version] = /^([^-]+)-([^-]+)(?:-\d[^-]*)?-[^-]+-[^-]+-[^-]+\.whl$/.exec(file) ?? []
  if (name === undefined || version === undefined) {
    throw new LockError('DOWNLOAD', `pip fetched ${file}, which is no wheel`)
  }
  const { size, sha256 } = await store.putFile(join(folder, file))
  const project = normalizedProject(name)
  return {
    kind: 'wheel',
    name: project,
    version,
    purl: pypiPurl(project, version),
    size,
    sha256,
    file,
  }
}
