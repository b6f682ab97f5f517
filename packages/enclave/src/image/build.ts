import { type KeyObject, randomBytes } from 'node:crypto'
import { lstat, rename, rm, symlink, utimes } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import type { EnclaveDefinition } from '../definition/schema.ts'
import { measureSgxs } from '../measurement/measure.ts'
import { assertSecretSigner } from '../sigstruct/appraise.ts'
import { SigstructError } from '../sigstruct/errors.ts'
import { assertSigningKey, modulusOf } from '../sigstruct/key.ts'
import { signingKeyMrSigner, signSigstruct } from '../sigstruct/sign.ts'
import { ImageError } from './errors.ts'
import {
  copyNew,
  digestFile,
  EPOCH,
  type FileDigest,
  forEachOf,
  makeFolder,
  openRegular,
  syncFolder,
  writeNew,
} from './files.ts'
import { comparePaths, encodeManifest, type ImageEntry, parseManifest } from './manifest.ts'
import { imageSgxs, imageSigstruct } from './pages.ts'
import { type ImagePlan, type Planned, planImage } from './plan.ts'

/** What to build, and where. */
export interface BuildImageOptions {
  readonly definition: EnclaveDefinition
  /** What the definition's paths are relative to. */
  readonly baseDir: string
  /** Folder to make; nothing may be there yet. */
  readonly out: string
  /** RSA-3072 private key with exponent 3; see `createSigningKey`. */
  readonly signKey: KeyObject
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
}

const AT_ONCE = 4
/** Copies a file and says what was written, whatever happens to the source meanwhile. */
async function copySource(from: string, to: string, mode: number): Promise<FileDigest> {
  const input = await openRegular(from).catch((cause: unknown) => {
    throw new ImageError('SOURCE', `cannot read ${from}`, { cause })
  })
  return copyNew(input, to, { mode, durable: true }).finally(() => input.close())
}

function octal(mode: number): string {
  return mode.toString(8).padStart(4, '0')
}

async function place(root: string, path: string, planned: Planned): Promise<ImageEntry> {
  const to = join(root, path)
  switch (planned.type) {
    case 'dir':
      return { path, type: 'dir', mode: '0755' }
    case 'link':
      await symlink(planned.target, to)
      return { path, type: 'link', target: planned.target }
    case 'copy': {
      const digest = await copySource(planned.from, to, planned.mode)
      return { path, type: 'file', mode: octal(planned.mode), ...digest }
    }
    case 'bytes': {
      await writeNew(to, planned.bytes, planned.mode)
      const file = await openRegular(to)
      const digest = await digestFile(file).finally(() => file.close())
      return { path, type: 'file', mode: octal(planned.mode), ...digest }
    }
  }
}

async function writeRoot(root: string, plan: ImagePlan): Promise<readonly ImageEntry[]> {
  const all = [...plan].sort(([a], [b]) => comparePaths(a, b))
  const folders = all.filter(([, { type }]) => type === 'dir').map(([path]) => join(root, path))
  await makeFolder(root)
  for (const folder of folders) await makeFolder(folder)
  const entries: ImageEntry[] = []
  await forEachOf(all, AT_ONCE, async ([path, planned]) => {
    entries.push(await place(root, path, planned))
  })
  for (const folder of [...folders.reverse(), root]) {
    await utimes(folder, EPOCH, EPOCH)
    await syncFolder(folder)
  }
  return entries
}

/** Both commands begin with a file of the image that can be executed. */
function assertEntry(definition: EnclaveDefinition, entries: readonly ImageEntry[]): void {
  const files = new Map(entries.map(entry => [`/${entry.path}`, entry]))
  for (const which of ['init', 'program'] as const) {
    const path = definition.entry[which][0] ?? ''
    const entry = files.get(path)
    if (entry?.type !== 'file' || (Number.parseInt(entry.mode, 8) & 0o111) === 0) {
      const seen = entry === undefined ? 'nothing' : `a ${entry.type} without that right`
      const message = `entry.${which}: wanted an executable file of the image at ${path}, seen ${seen}`
      throw new ImageError('ENTRY', message)
    }
  }
}

async function fill(
  folder: string,
  options: BuildImageOptions,
): Promise<Omit<BuiltImage, 'folder'>> {
  const { definition, baseDir, signKey } = options
  const entries = await writeRoot(join(folder, 'root'), await planImage(definition, baseDir))
  assertEntry(definition, entries)
  const bytes = encodeManifest({
    version: 1,
    name: definition.name,
    entry: definition.entry,
    environment: definition.environment ?? {},
    network: definition.network,
    identity: { ...definition.identity, debug: definition.identity.debug ?? false },
    resources: definition.resources,
    files: [...entries],
  })
  const manifest = parseManifest(bytes)
  const sgxs = imageSgxs(bytes, manifest)
  const { mrEnclave } = measureSgxs(sgxs)
  const fields = imageSigstruct(manifest, mrEnclave)
  assertSecretSigner(fields, modulusOf(signKey))
  const sigstruct = signSigstruct(fields, signKey)
  await writeNew(join(folder, 'manifest.json'), bytes, 0o644)
  await writeNew(join(folder, 'image.sgxs'), sgxs, 0o644)
  await writeNew(join(folder, 'sigstruct.bin'), sigstruct, 0o644)
  await syncFolder(folder)
  const files = manifest.files.flatMap(entry => (entry.type === 'file' ? [entry.size] : []))
  return {
    measurement: Buffer.from(mrEnclave).toString('hex'),
    mrSigner: Buffer.from(signingKeyMrSigner(signKey)).toString('hex'),
    fileCount: files.length,
    totalBytes: files.reduce((sum, size) => sum + size, 0),
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
 * the files it names and the key alone: not on place, time, user or umask. It appears under its
 * name whole or not at all.
 * @throws ImageError with `EXISTS`, `SOURCE`, `CONFLICT`, `LIBRARY`, `BUNDLE`, `ENTRY`, `WRITE`;
 * SigstructError with `KEY`, `TEST_KEY`.
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
    await rename(temporary, folder)
    await syncFolder(dirname(folder))
    return { folder, ...built }
  } catch (cause) {
    await rm(temporary, { recursive: true, force: true }).catch(() => undefined)
    if (cause instanceof ImageError || cause instanceof SigstructError) throw cause
    throw new ImageError('WRITE', `cannot write ${folder}: ${reasonOf(cause)}`, { cause })
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
