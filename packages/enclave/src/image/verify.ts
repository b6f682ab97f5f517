import { createHash } from 'node:crypto'
import { join, resolve } from 'node:path'
import { ORIGINS_FILE, PROVENANCE_FILE, SBOM_FILE } from '../documents/file-names.ts'
import { measureSgxs } from '../measurement/measure.ts'
import { SIGSTRUCT_SIZE, type SigstructFields } from '../sigstruct/format.ts'
import { type VerifiedSigstruct, verifySigstruct } from '../sigstruct/sign.ts'
import { ImageError, type ImageProblem, imageErrorOf } from './errors.ts'
import { openRegular } from './files.ts'
import { documentDigest, type ImageManifest, MAX_MANIFEST, parseManifest } from './manifest.ts'
import { imageSgxs, imageSigstruct, manifestDigestIn } from './pages.ts'
import { namesIn, TreeCheck } from './tree.ts'

declare const brand: unique symbol

/** What an image states, under a signature that was checked. Its files were not looked at. */
export interface OpenedImage {
  /** Absolute path of the image folder. */
  readonly folder: string
  /** Absolute path of the tree. */
  readonly root: string
  readonly manifest: ImageManifest
  /** MRENCLAVE, 64 hexadecimal digits. */
  readonly measurement: string
  /** MRSIGNER, 64 hexadecimal digits. */
  readonly mrSigner: string
  readonly sigstruct: VerifiedSigstruct
  /** The same, 1808 bytes. */
  readonly sigstructBytes: Uint8Array
}

/**
 * An image whose every file was compared with its manifest. Only {@link verifyFiles}, {@link verifyImage}
 * and `loadImage` make one.
 */
export type VerifiedImage = OpenedImage & { readonly [brand]: 'VerifiedImage' }

/**
 * What the caller knows about the image. Without it, an image only agrees with itself: whoever
 * relies on it compares `measurement` or `mrSigner`.
 */
export interface ExpectedImage {
  /** MRENCLAVE, 64 hexadecimal digits. */
  readonly measurement?: string
  /** MRSIGNER, 64 hexadecimal digits. */
  readonly mrSigner?: string
}

const CONTENT: readonly string[] = [
  ...['image.sgxs', 'manifest.json', 'root', 'sigstruct.bin'],
  ...[ORIGINS_FILE, SBOM_FILE, PROVENANCE_FILE],
]

const MAX_DOCUMENT = 256 * 1024 * 1024

// Each page of the manifest is measured in 16 records of 320 bytes after one of 64.
const MAX_SGXS = Math.ceil(MAX_MANIFEST / 4096 + 2) * (64 + 16 * 320)

async function readPart(folder: string, name: string, limit: number): Promise<Uint8Array> {
  const path = join(folder, name)
  try {
    const file = await openRegular(path)
    try {
      const stats = await file.stat()
      if (!stats.isFile() || stats.size > limit) {
        throw new ImageError('READ', `${path}: wanted a file of at most ${limit} bytes`)
      }
      return await file.readFile()
    } finally {
      await file.close()
    }
  } catch (cause) {
    if (cause instanceof ImageError) throw cause
    throw new ImageError('READ', `cannot read ${path}`, { cause })
  }
}

function differs(
  code: ImageProblem['code'],
  path: string,
  wanted: string,
  seen: string,
  cause?: unknown,
): ImageError {
  return imageErrorOf([{ code, path, wanted, seen }], cause)
}

function verifiedSigstruct(bytes: Uint8Array): VerifiedSigstruct {
  try {
    return verifySigstruct(bytes)
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : 'something else'
    throw differs('SIGNATURE', 'sigstruct.bin', 'a valid SIGSTRUCT', reason, cause)
  }
}

function assertMeasured(sgxs: Uint8Array, measurement: string): void {
  const wanted = `MRENCLAVE ${measurement} as signed`
  let seen: string
  try {
    seen = Buffer.from(measureSgxs(sgxs).mrEnclave).toString('hex')
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : 'something else'
    throw differs('MEASUREMENT', 'image.sgxs', wanted, reason, cause)
  }
  if (seen !== measurement) throw differs('MEASUREMENT', 'image.sgxs', wanted, seen)
}

/** Reads the manifest that was measured: nothing of another is looked at. */
function measuredManifest(bytes: Uint8Array, sgxs: Uint8Array): ImageManifest {
  const seen = createHash('sha256').update(bytes).digest()
  const wanted = manifestDigestIn(sgxs)
  if (wanted === undefined)
    throw differs('MEASUREMENT', 'image.sgxs', 'an image', 'another enclave')
  if (Buffer.compare(wanted, seen) !== 0) {
    const wantedHex = Buffer.from(wanted).toString('hex')
    throw differs('MEASUREMENT', 'manifest.json', `SHA-256 ${wantedHex}`, seen.toString('hex'))
  }
  const manifest = parseManifest(bytes)
  if (Buffer.compare(imageSgxs(bytes, manifest), sgxs) !== 0) {
    throw differs('MEASUREMENT', 'image.sgxs', 'the stream of its manifest', 'another')
  }
  return manifest
}

function assertIdentity(manifest: ImageManifest, sigstruct: VerifiedSigstruct): void {
  const wanted = imageSigstruct(manifest, sigstruct.enclaveHash)
  const fields = Object.keys(wanted) as readonly (keyof SigstructFields)[]
  for (const field of fields) {
    const [want, have] = [show(wanted[field]), show(sigstruct[field])]
    if (want !== have) throw differs('IDENTITY', `sigstruct.bin ${field}`, want, have)
  }
}

function show(value: SigstructFields[keyof SigstructFields]): string {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex')
  if (typeof value === 'object') return `0x${value.flags.toString(16)}:0x${value.xfrm.toString(16)}`
  return String(value)
}

/**
 * Reads what an image states and checks that it is what was measured and signed. Does not look at
 * the image's files: {@link verifyFiles} does.
 * @throws ImageError with `READ`, `SIGNATURE`, `SIGNER`, `MEASUREMENT`, `MANIFEST`, `LINK`,
 * `IDENTITY`.
 */
export async function openImage(path: string, expected: ExpectedImage = {}): Promise<OpenedImage> {
  const folder = resolve(path)
  const sigstructBytes = await readPart(folder, 'sigstruct.bin', SIGSTRUCT_SIZE)
  const sigstruct = verifiedSigstruct(sigstructBytes)
  const mrSigner = Buffer.from(sigstruct.mrSigner).toString('hex')
  const measurement = Buffer.from(sigstruct.enclaveHash).toString('hex')
  if (expected.mrSigner !== undefined && expected.mrSigner !== mrSigner) {
    throw differs('SIGNER', 'sigstruct.bin', `MRSIGNER ${expected.mrSigner}`, mrSigner)
  }
  if (expected.measurement !== undefined && expected.measurement !== measurement) {
    throw differs('MEASUREMENT', 'sigstruct.bin', `MRENCLAVE ${expected.measurement}`, measurement)
  }
  const sgxs = await readPart(folder, 'image.sgxs', MAX_SGXS)
  assertMeasured(sgxs, measurement)
  const manifest = measuredManifest(await readPart(folder, 'manifest.json', MAX_MANIFEST), sgxs)
  assertIdentity(manifest, sigstruct)
  const root = join(folder, 'root')
  return { folder, root, manifest, measurement, mrSigner, sigstruct, sigstructBytes }
}

/** What is wrong with a document that was measured with the image. */
async function documentProblem(
  { folder, manifest }: OpenedImage,
  name: keyof ImageManifest['documents'],
): Promise<ImageProblem | undefined> {
  const path = name === 'sbom' ? SBOM_FILE : ORIGINS_FILE
  const wanted = `SHA-256 ${manifest.documents[name]}`
  const bytes = await readPart(folder, path, MAX_DOCUMENT).catch(() => undefined)
  if (bytes === undefined)
    return { code: 'MISSING', path, wanted, seen: 'nothing that can be read' }
  const seen = documentDigest(bytes)
  return seen === manifest.documents[name] ? undefined : { code: 'CHANGED', path, wanted, seen }
}

/**
 * Verifies the files of an image that was opened: every file, folder and link of the tree, with
 * type, mode and content. Finds all differences, and more than the image as well.
 * @throws ImageError with `READ`, `MISSING`, `ADDED`, `CHANGED`, `TYPE`, `MODE`, `LINK`.
 */
export async function verifyFiles(image: OpenedImage): Promise<VerifiedImage> {
  const tree = new TreeCheck(image.root, image.manifest.files)
  for (const name of await namesIn(image.folder)) {
    if (CONTENT.includes(name)) continue
    tree.problems.push({ code: 'ADDED', path: name, wanted: 'nothing', seen: 'something' })
  }
  for (const name of ['origins', 'sbom'] as const) {
    const problem = await documentProblem(image, name)
    if (problem !== undefined) tree.problems.push(problem)
  }
  await tree.run()
  const [first, ...rest] = tree.problems
  if (first !== undefined) throw imageErrorOf([first, ...rest])
  return image as VerifiedImage
}

/**
 * Verifies an image in full: what {@link openImage} does, then {@link verifyFiles}.
 * @param expected - What the caller knows about the image.
 * @throws ImageError with what both throw.
 */
export async function verifyImage(
  path: string,
  expected: ExpectedImage = {},
): Promise<VerifiedImage> {
  return await verifyFiles(await openImage(path, expected))
}
