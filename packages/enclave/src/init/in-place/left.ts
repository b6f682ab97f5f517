import { lstat, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import type { Head } from '@cloister/kms'
import { type Static, Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { type Mounts, mountTargets } from '../../definition/mounts.ts'
import { InstanceError } from '../../instance/failure.ts'
import type { InstanceLayout } from '../../instance/layout.ts'
import type { ProgramEnd } from '../program.ts'

const strict = { additionalProperties: false } as const
const Text = Type.String()

const HeadSchema = Type.Object(
  { datasetId: Text, version: Type.Integer(), manifestDigest: Text, writerKey: Text },
  strict,
)

const LeftSchema = Type.Object(
  {
    version: Type.Literal(1),
    /** The first release request, compact JWS. */
    releaseRequest: Text,
    /** An `AttestedSession` that was suspended, base64url: both private keys. */
    session: Text,
    /** Of every output, by dataset id; null where it has none yet. */
    heads: Type.Record(Text, Type.Union([HeadSchema, Type.Null()])),
    inputs: Type.Array(Type.Object({ name: Text, head: HeadSchema }, strict)),
  },
  strict,
)

/** What init leaves for the init that comes after the program. */
export type Left = Static<typeof LeftSchema>

/** What was left, and how the program ended. */
export interface Found extends Left {
  readonly end: ProgramEnd
}

/** Longer than the file of any program that ended. */
const NO_END = 256

/**
 * Paths of what is left. A program's exit code is the length of a file: what it ends with can set
 * that in one call, and one that failed to leaves no good end behind.
 */
export function leftPaths({ leftFolder }: InstanceLayout) {
  const at = (name: string) => join(leftFolder, name)
  return { state: at('state.json'), end: at('end'), start: at('start.so'), back: at('back.so') }
}

/** Leaves what the next init needs. The folder is in enclave memory, and holds private keys. */
export async function leave(layout: InstanceLayout, left: Left): Promise<void> {
  const paths = leftPaths(layout)
  await mkdir(layout.leftFolder, { mode: 0o700 })
  await writeFile(paths.state, JSON.stringify(left), { mode: 0o600 })
  await writeFile(paths.end, new Uint8Array(NO_END), { mode: 0o600 })
}

/**
 * Takes what an earlier init left, and removes it; undefined where none did. Nobody but init and the
 * program could have: the folder is in memory that is the enclave's alone.
 * @throws InstanceError PROGRAM when it is not what init leaves
 */
export async function takeLeft(layout: InstanceLayout): Promise<Found | undefined> {
  const paths = leftPaths(layout)
  if (!(await isThere(layout.leftFolder))) return undefined
  const text = await readFile(paths.state, 'utf8').catch(() => '')
  const end = await stat(paths.end).catch(() => undefined)
  await rm(layout.leftFolder, { recursive: true })
  if (!end?.isFile() || end.size >= NO_END) throw broken('how the program ended is not known')
  return { ...parseLeft(text), end: { exitCode: end.size, signal: null } }
}

/**
 * Refuses to be the first init where another was: a program that takes away what that one left would
 * have this one begin a job, of whatever the host has put there meanwhile, among its own files.
 * @throws InstanceError PROGRAM
 */
export async function assertUnused(layout: InstanceLayout, mounts: Mounts): Promise<void> {
  const targets = mountTargets(mounts).map(to => layout.mountFolder(to))
  for (const folder of [dirname(layout.leftFolder), layout.scratchFolder, ...targets]) {
    const mounted = targets.map(to => relative(folder, to).split('/')[0])
    const names = (await isThere(folder)) ? await readdir(folder) : []
    const used = names.find(name => !mounted.includes(name))
    if (used === undefined) continue
    throw broken(`init begins where something was before: ${join(folder, used)} is there`)
  }
}

/** Only what is surely not there is absent. */
async function isThere(path: string): Promise<boolean> {
  try {
    await lstat(path)
    return true
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return false
    throw broken(`whether something is at ${path} cannot be told`)
  }
}

function parseLeft(text: string): Left {
  try {
    const value: unknown = JSON.parse(text)
    if (Value.Check(LeftSchema, value)) return value
  } catch {
    // The message is the same.
  }
  throw broken('what init left is not there any more')
}

function broken(what: string): InstanceError {
  return new InstanceError('PROGRAM', `${what}: a program must leave /run/left alone`)
}

/** A head as it is left. */
export function leftHead({
  datasetId,
  version,
  manifestDigest,
  writerKey,
}: Head): Left['inputs'][number]['head'] {
  return { datasetId, version, manifestDigest, writerKey }
}
