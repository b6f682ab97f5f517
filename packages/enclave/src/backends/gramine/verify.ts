import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { canonicalJsonBytes } from '@cloister/sealed'
import { openRegular } from '../../image/files.ts'
import { type ImageManifest, parseManifest } from '../../image/manifest.ts'
import { TreeCheck } from '../../image/tree.ts'
import { fileSource } from '../../measurement/byte-source.ts'
import {
  appraiseSigstruct,
  type SigstructExpectations,
  type SigstructReason,
} from '../../sigstruct/appraise.ts'
import { type VerifiedSigstruct, verifySigstruct } from '../../sigstruct/sign.ts'
import { BlobHasher } from '../../store/blob.ts'
import { BackendError } from '../errors.ts'
import { assertGramineManifest, gramineSizes, parseGramineManifest } from './manifest.ts'
import { measureGramine } from './measure.ts'
import { IMAGE_MANIFEST, ROOT } from './template.ts'
import { sha256Hex, type TrustedPath, trustedPaths } from './trusted-paths.ts'

/** An image that is ready to run under Gramine, checked against its own manifest. */
export interface VerifiedGramine {
  readonly image: ImageManifest
  /** MRENCLAVE, 64 hexadecimal digits. */
  readonly measurement: string
  /** MRSIGNER, 64 hexadecimal digits. */
  readonly mrSigner: string
  readonly sigstruct: VerifiedSigstruct
  /** 1808 bytes. */
  readonly sigstructBytes: Uint8Array
  /** Why it is not what is demanded; empty when it is. */
  readonly reasons: readonly SigstructReason[]
}

/** The paths that a manifest of Gramine must list for an image. */
export function trustedOf(image: ImageManifest): readonly TrustedPath[] {
  const bytes = canonicalJsonBytes(image)
  return [...trustedPaths(image.files), { path: IMAGE_MANIFEST, sha256: sha256Hex(bytes) }]
}

/** The MRENCLAVE that a folder's manifest and a PAL give. @throws BackendError, SdkEnclaveError */
export async function predictGramine(manifestSgx: Uint8Array, libpal: string): Promise<Uint8Array> {
  const sizes = gramineSizes(parseGramineManifest(manifestSgx))
  const file = await openRegular(libpal).catch((cause: unknown) => {
    throw new BackendError('TOOL_MISSING', `cannot read Gramine's PAL ${libpal}`, { cause })
  })
  try {
    const { size } = await file.stat()
    return await measureGramine(manifestSgx, sizes, fileSource(file, size))
  } finally {
    await file.close()
  }
}

/**
 * Verifies what `buildGramine` made: that manifest and PAL give the MRENCLAVE that was signed, that
 * the manifest is the image's and weakens nothing, and that every file is as the manifest says.
 * @param libpal - Gramine's `libpal.so`, which is measured too.
 * @throws BackendError, SigstructError, ImageError
 */
export async function verifyGramine(
  folder: string,
  libpal: string,
  expected: SigstructExpectations = {},
): Promise<VerifiedGramine> {
  const image = parseManifest(await readFile(join(folder, ROOT, IMAGE_MANIFEST)))
  const manifestSgx = await readFile(join(folder, `${image.name}.manifest.sgx`))
  const sigstructBytes = new Uint8Array(await readFile(join(folder, `${image.name}.sig`)))
  const sigstruct = verifySigstruct(sigstructBytes)
  const predicted = Buffer.from(await predictGramine(manifestSgx, libpal)).toString('hex')
  const measurement = Buffer.from(sigstruct.enclaveHash).toString('hex')
  if (predicted !== measurement) {
    const message = `wanted MRENCLAVE ${measurement} as signed, seen ${predicted}`
    throw new BackendError('MEASUREMENT', `${folder}: ${message}`)
  }
  assertGramineManifest(parseGramineManifest(manifestSgx), image, trustedOf(image))
  await assertFiles(join(folder, ROOT), image)
  return {
    ...{ image, measurement, sigstruct, sigstructBytes },
    mrSigner: Buffer.from(sigstruct.mrSigner).toString('hex'),
    reasons: appraiseSigstruct(sigstruct, expected),
  }
}

/** Gramine would refuse a changed file when it is opened; here it is found before anything runs. */
async function assertFiles(root: string, image: ImageManifest): Promise<void> {
  const hasher = new BlobHasher()
  hasher.update(canonicalJsonBytes(image))
  const own = { type: 'file', mode: '0644', ...hasher.digest() } as const
  const tree = new TreeCheck(root, [...image.files, { path: IMAGE_MANIFEST, ...own }])
  await tree.run()
  const [first] = tree.problems
  if (first === undefined) return
  const message = `${first.path}: wanted ${first.wanted}, seen ${first.seen}`
  throw new BackendError('FILES', message)
}
