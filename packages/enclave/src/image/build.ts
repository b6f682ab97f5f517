import { execFile } from 'node:child_process'
import { type KeyObject, randomBytes } from 'node:crypto'
import { lstat, rename, rm, symlink, utimes } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { resourcesOf } from '../definition/resources.ts'
import type { EnclaveDefinition } from '../definition/schema.ts'
import { ORIGINS_FILE, PROVENANCE_FILE, SBOM_FILE } from '../documents/file-names.ts'
import { encodeOrigins } from '../documents/origins.ts'
import { encodeProvenance } from '../documents/provenance.ts'
import { encodeSbom } from '../documents/sbom.ts'
import { LockError } from '../lock/errors.ts'
import { measureSgxs } from '../measurement/measure.ts'
import type { SecretNotice } from '../secrets/judge.ts'
import { assertSecretSigner } from '../sigstruct/appraise.ts'
import { SigstructError } from '../sigstruct/errors.ts'
import { assertSigningKey, modulusOf } from '../sigstruct/key.ts'
import { signingKeyMrSigner, signSigstruct } from '../sigstruct/sign.ts'
import { ImageError } from './errors.ts'
import { EPOCH, forEachOf, makeFolder, syncFolder, writeNew } from './files.ts'
import { INIT_COMMAND } from './init.ts'
import { follow } from './locked-root.ts'
import {
  comparePaths,
  documentDigest,
  encodeManifest,
  type ImageEntry,
  type ImageManifest,
} from './manifest.ts'
import { imageSgxs, imageSigstruct } from './pages.ts'
import { Placer } from './place.ts'
import type { ImagePlan } from './plan.ts'
import { entryPaths, type LockedPackages, planImage } from './plan-image.ts'

/** What to build, and where. */
export interface BuildImageOptions {
  readonly definition: EnclaveDefinition
  /** What the definition's paths are relative to. */
  readonly baseDir: string
  /** Folder to make; nothing may be there yet. */
  readonly out: string
  /** RSA-3072 private key with exponent 3; see `createSigningKey`. */
  readonly signKey: KeyObject
  /** For definitions that name packages. */
  readonly packages?: LockedPackages
}

/** A built image. */
export interface BuiltImage {
  /** Absolute path of the image folder. */
  readonly folder: string
  /** MRENCLAVE, 64 hexadecimal digits. */
  readonly measurement: string
  /** MRSIGNER, 64 hexadecimal digits. */
  readonly mrSigner: string
  readonly fileCount: number
  readonly totalBytes: number
  /** What looks like a secret and did not stop the build, with the reason. */
  readonly notices: readonly SecretNotice[]
}

const AT_ONCE = 4
const run = promisify(execFile)

async function writeRoot(
  root: string,
  plan: ImagePlan,
  placer: Placer,
): Promise<readonly ImageEntry[]> {
  const all = [...plan].sort(([a], [b]) => comparePaths(a, b))
  const folders = all.filter(([, { type }]) => type === 'dir').map(([path]) => join(root, path))
  await makeFolder(root)
  for (const folder of folders) await makeFolder(folder)
  const entries: ImageEntry[] = []
  await forEachOf(all, AT_ONCE, async ([path, planned]) => {
    if (planned.type === 'link') await symlink(planned.target, join(root, path))
    entries.push(await placer.place(join(root, path), path, planned))
  })
  for (const folder of [...folders.reverse(), root]) await utimes(folder, EPOCH, EPOCH)
  return entries.sort((a, b) => comparePaths(a.path, b.path))
}

/** All commands begin with a file of the image that can be executed, or a link to one. */
function assertEntry(definition: EnclaveDefinition, plan: ImagePlan): void {
  for (const path of entryPaths(definition)) {
    const found = follow(path, at => plan.get(at))
    const planned = found?.planned
    const isFile = planned !== undefined && planned.type !== 'dir' && planned.type !== 'link'
    if (path.startsWith('/') && isFile && (planned.mode & 0o111) !== 0) continue
    const seen =
      planned === undefined ? 'nothing' : isFile ? 'a file without that right' : 'a folder'
    const message = `entry: wanted an executable file of the image at ${path}, seen ${seen}`
    throw new ImageError('ENTRY', message)
  }
}

function measuredEntry({ entry }: EnclaveDefinition): ImageManifest['entry'] {
  const others = Object.entries(entry.others ?? {}).map(([name, other]) => [
    name,
    { program: other.program, arguments: other.arguments ?? [] },
  ])
  return {
    init: entry.init ?? [...INIT_COMMAND],
    interface: entry.interface ?? 'files',
    signals: [...(entry.signals ?? [])].sort(),
    standardInput: entry.standardInput ?? false,
    program: entry.program,
    arguments: entry.arguments ?? [],
    ...(entry.executor === undefined ? {} : { executor: entry.executor }),
    others: Object.fromEntries(others),
  }
}

function measuredResources({ resources }: EnclaveDefinition): ImageManifest['resources'] {
  const found = resourcesOf(resources)
  if ('fault' in found) throw new ImageError('SOURCE', `resources.${found.field}: ${found.fault}`)
  return found
}

async function fill(
  folder: string,
  { definition, baseDir, signKey, packages }: BuildImageOptions,
): Promise<Omit<BuiltImage, 'folder'>> {
  const plan = await planImage(definition, baseDir, packages)
  assertEntry(definition, plan)
  const placer = new Placer(packages?.store)
  const entries = await writeRoot(join(folder, 'root'), plan, placer)
  const notices = placer.judge(definition.allowedSecrets ?? [])
  const { name, identity } = definition
  const origins = encodeOrigins(plan)
  const sbom = encodeSbom({ name, isvSvn: identity.isvSvn, plan, entries })
  const { bytes, manifest } = encodeManifest({
    version: 1,
    name,
    entry: measuredEntry(definition),
    environment: definition.environment ?? {},
    environmentFromJob: [...(definition.environmentFromJob ?? [])].sort(),
    network: definition.network,
    mounts: definition.mounts ?? {},
    identity: { ...identity, debug: identity.debug ?? false },
    resources: measuredResources(definition),
    documents: { origins: documentDigest(origins), sbom: documentDigest(sbom) },
    files: [...entries],
  })
  const sgxs = imageSgxs(bytes, manifest)
  const { mrEnclave } = measureSgxs(sgxs)
  const measurement = Buffer.from(mrEnclave).toString('hex')
  const fields = imageSigstruct(manifest, mrEnclave)
  assertSecretSigner(fields, modulusOf(signKey))
  const provenance = encodeProvenance(manifest, bytes, measurement, packages?.lock)
  const written: Readonly<Record<string, Uint8Array>> = {
    'manifest.json': bytes,
    'image.sgxs': sgxs,
    'sigstruct.bin': signSigstruct(fields, signKey),
    [ORIGINS_FILE]: origins,
    [SBOM_FILE]: sbom,
    [PROVENANCE_FILE]: provenance,
  }
  for (const [file, content] of Object.entries(written)) {
    await writeNew(join(folder, file), content, 0o644, { durable: false })
  }
  const files = entries.flatMap(entry => (entry.type === 'file' ? [entry.size] : []))
  return {
    measurement,
    mrSigner: Buffer.from(signingKeyMrSigner(signKey)).toString('hex'),
    fileCount: files.length,
    totalBytes: files.reduce((sum, size) => sum + size, 0),
    notices,
  }
}

async function exists(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => false,
  )
}

/**
 * Builds, measures and signs an enclave image. The image depends on the definition, the content of
 * the files it names, the lock and the key alone: not on place, time, user or umask. It appears
 * under its name whole or not at all.
 * @throws ImageError with `EXISTS`, `SOURCE`, `CONFLICT`, `LIBRARY`, `BUNDLE`, `ENTRY`, `SECRET`,
 * `WRITE`; LockError; SigstructError with `KEY`, `TEST_KEY`.
 */
export async function buildImage(options: BuildImageOptions): Promise<BuiltImage> {
  assertSigningKey(options.signKey)
  const folder = resolve(options.out)
  if (await exists(folder)) throw new ImageError('EXISTS', `${folder} exists already`)
  const suffix = randomBytes(6).toString('hex')
  const temporary = join(dirname(folder), `.${basename(folder)}.${suffix}.tmp`)
  try {
    await makeFolder(temporary)
    const built = await fill(temporary, options)
    // Once for all files: one after the other, thousands of them would take minutes.
    await run('sync', ['-f', temporary])
    await rename(temporary, folder)
    await syncFolder(dirname(folder))
    return { folder, ...built }
  } catch (cause) {
    await rm(temporary, { recursive: true, force: true }).catch(() => undefined)
    if (
      cause instanceof ImageError ||
      cause instanceof LockError ||
      cause instanceof SigstructError
    )
      throw cause
    if (isDefinitionFault(cause)) throw cause
    throw new ImageError('WRITE', `cannot write ${folder}: ${reasonOf(cause)}`, { cause })
  }
}

function isDefinitionFault(error: unknown): boolean {
  return error instanceof Error && error.name === 'DefinitionError'
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
