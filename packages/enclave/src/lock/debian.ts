import { chmod, copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Store } from '../store/store.ts'
import { debFields } from './deb-fields.ts'
import { LockError } from './errors.ts'
import type { ArtefactOf } from './format.ts'
import { debPurl } from './purl.ts'
import { toolOutput } from './tool.ts'

/** What to fetch. */
export interface DebianRequest {
  /** Names, with =VERSION where it matters. */
  readonly packages: readonly string[]
  /** Of these, the names that the definition lists. */
  readonly listed: ReadonlySet<string>
}

interface Promised {
  readonly file: string
  readonly size: number
  readonly sha256: string
}

/**
 * Settings of an apt that knows nothing of this machine but its sources and their keys: a system of
 * its own in which nothing is installed. No hook of this machine's is run.
 */
function settings(folder: string): string {
  return `#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Invoke;
#clear DPkg::Post-Invoke;
#clear DPkg::Pre-Install-Pkgs;
#clear Acquire::IndexTargets::deb::DEP-11;
#clear Acquire::IndexTargets::deb::CNF;
Dir::State "${folder}";
Dir::State::lists "${folder}/lists";
Dir::State::status "${folder}/status";
Dir::State::extended_states "${folder}/extended_states";
Dir::Cache "${folder}";
Dir::Cache::archives "${folder}/archives";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Dir::Log "${folder}";
#clear APT::Architectures;
APT::Architecture "amd64";
APT::Architectures:: "amd64";
APT::Install-Recommends "false";
APT::Install-Suggests "false";
APT::Get::AllowUnauthenticated "false";
APT::Update::Error-Mode "any";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
Acquire::ForceHash "sha256";
Acquire::Languages "none";
Debug::NoLocking "true";
`
}

/** A system of apt's own in a temporary folder, with fresh lists. */
async function withApt<T>(
  work: (apt: (args: readonly string[]) => Promise<string>, folder: string) => Promise<T>,
): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'cloister-apt-'))
  try {
    // As root, apt fetches as a user of its own, who must get here.
    await chmod(folder, 0o755)
    for (const name of ['lists/partial', 'archives/partial']) {
      await mkdir(join(folder, name), { recursive: true })
    }
    await writeFile(join(folder, 'status'), '')
    await writeFile(join(folder, 'apt.conf'), settings(folder))
    const apt = (args: readonly string[]) =>
      toolOutput(
        'apt-get',
        ['--config-file', join(folder, 'apt.conf'), '--quiet', '--yes', ...args],
        {
          environment: { DEBIAN_FRONTEND: 'noninteractive' },
          package: 'apt',
        },
      )
    await apt(['update'])
    return await work(apt, folder)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

const URI_LINE = /^'[^']*' (\S+) (\d+) SHA256:([0-9a-f]{64})$/

function promisedOf(output: string): readonly Promised[] {
  return output
    .split('\n')
    .filter(line => line.startsWith("'"))
    .map(line => {
      const [, file, size, sha256] = URI_LINE.exec(line.trim()) ?? []
      if (file === undefined || size === undefined || sha256 === undefined || file.includes('/')) {
        throw new LockError('DOWNLOAD', 'apt-get does not say the SHA-256 of a package')
      }
      return { file, size: Number(size), sha256 }
    })
}

/**
 * Fetches Debian packages and all that they depend on, from this machine's sources: apt verifies
 * their signatures, and what it promised is compared with what came.
 * @throws LockError TOOL, DOWNLOAD
 */
export async function fetchDebs(
  { packages, listed }: DebianRequest,
  store: Store,
): Promise<readonly ArtefactOf<'deb'>[]> {
  return await withApt(async (apt, folder) => {
    const promised = promisedOf(await apt(['install', '--print-uris', '--', ...packages]))
    let missing = false
    for (const { file, sha256 } of promised) {
      if (await store.has(sha256))
        await copyFile(store.path(sha256), join(folder, 'archives', file))
      else missing = true
    }
    if (missing) await apt(['install', '--download-only', '--', ...packages])
    const debs: ArtefactOf<'deb'>[] = []
    for (const one of promised)
      debs.push(await taken(one, join(folder, 'archives', one.file), listed, store))
    return debs
  })
}

async function taken(
  promised: Promised,
  path: string,
  listed: ReadonlySet<string>,
  store: Store,
): Promise<ArtefactOf<'deb'>> {
  const { size, sha256 } = await store.putFile(path)
  if (size !== promised.size || sha256 !== promised.sha256) {
    const message = `${promised.file}: wanted SHA-256 ${promised.sha256}, seen ${sha256}`
    throw new LockError('DOWNLOAD', message)
  }
  const { name, version, architecture } = await debFields(path)
  if (architecture !== 'amd64' && architecture !== 'all') {
    throw new LockError('DOWNLOAD', `${promised.file} is for ${architecture}`)
  }
  const purl = debPurl(name, version, architecture)
  return { kind: 'deb', name, version, purl, size, sha256, architecture, listed: listed.has(name) }
}
