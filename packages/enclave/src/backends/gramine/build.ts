import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { canonicalJsonBytes } from '@cloister/sealed'
import { writeNew } from '../../image/files.ts'
import { loadImage } from '../../image/load.ts'
import type { ImageManifest } from '../../image/manifest.ts'
import { loaderFault, ownProcessFault } from '../../image/own-process.ts'
import { IMAGE_SIGNING_DATE } from '../../image/pages.ts'
import { assertSecretSigner, isDebug } from '../../sigstruct/appraise.ts'
import type { SigstructFields } from '../../sigstruct/format.ts'
import { createSigningKey } from '../../sigstruct/key.ts'
import { mrSignerOf, signSigstructBy, verifySigstruct } from '../../sigstruct/sign.ts'
import type { EnclaveSigner } from '../../sigstruct/signer.ts'
import { BackendError } from '../errors.ts'
import { preparedFolder } from '../prepared-folder.ts'
import { runTool } from '../tool.ts'
import { assertGramineManifest, parseGramineManifest } from './manifest.ts'
import { type GramineOptions, gramineTemplate, IMAGE_MANIFEST, ROOT } from './template.ts'
import { predictGramine, trustedOf } from './verify.ts'

/** Gramine's commands and its PAL. */
export interface GramineTools {
  /** `gramine-manifest` on the PATH, unless told. */
  readonly manifest?: string
  /** `gramine-sgx-sign` on the PATH, unless told. */
  readonly sign?: string
  /** `libpal.so`, which is measured. */
  readonly libpal: string
}

/** What to make ready for Gramine, and where. */
export interface BuildGramineOptions extends GramineOptions {
  /** An image folder. */
  readonly imageFolder: string
  /** Folder to make; nothing may be there yet. */
  readonly out: string
  readonly signer: EnclaveSigner
  readonly tools: GramineTools
}

/** An image made ready for a backend. */
export interface BuiltBackend {
  /** Absolute path. */
  readonly folder: string
  /** The image's name. */
  readonly name: string
  /** MRENCLAVE, 64 hexadecimal digits. */
  readonly measurement: string
  /** MRSIGNER, 64 hexadecimal digits. */
  readonly mrSigner: string
}

/** An image made ready for Gramine. */
export interface BuiltGramine extends BuiltBackend {
  /** Why jobs do not run on it; null where they do. */
  readonly noJobs: string | null
}

/**
 * Makes an image ready to run under Gramine: a manifest with every file as a trusted file, rendered
 * and measured by Gramine's own tools, MRENCLAVE compared with the one predicted here, and signed.
 * Gramine's tool gets a key that is thrown away; the signer's signs what was compared.
 * @throws BackendError, ImageError, SigstructError
 */
export async function buildGramine(options: BuildGramineOptions): Promise<BuiltGramine> {
  return await preparedFolder(options.out, folder => fill(folder, options))
}

async function fill(
  folder: string,
  options: BuildGramineOptions,
): Promise<Omit<BuiltGramine, 'folder'>> {
  const { signer, tools } = options
  const { manifest: image } = await loadImage(options.imageFolder, join(folder, ROOT))
  await writeNew(join(folder, ROOT, IMAGE_MANIFEST), canonicalJsonBytes(image), 0o644)
  const trusted = trustedOf(image)
  const template = gramineTemplate(image, trusted, options)
  await writeNew(join(folder, `${image.name}.manifest.template`), Buffer.from(template), 0o644)
  const signed = await signWithTool(folder, image.name, tools)
  const manifestSgx = await readFile(join(folder, `${image.name}.manifest.sgx`))
  assertGramineManifest(parseGramineManifest(manifestSgx), image, trusted)
  const predicted = await predictGramine(manifestSgx, tools.libpal)
  const fields = assertAsBuilt(signed, image, predicted)
  assertSecretSigner(fields, signer.modulus)
  const sigstruct = await signSigstructBy(fields, signer)
  await rm(join(folder, `${image.name}.sig`))
  await writeNew(join(folder, `${image.name}.sig`), sigstruct, 0o644)
  return {
    name: image.name,
    measurement: Buffer.from(predicted).toString('hex'),
    mrSigner: Buffer.from(mrSignerOf(signer.modulus)).toString('hex'),
    noJobs: ownProcessFault(image) ?? (await loaderFault(join(folder, ROOT), image)) ?? null,
  }
}

/** Has Gramine's tools render, expand and measure; gives the SIGSTRUCT that they wrote. */
async function signWithTool(folder: string, name: string, tools: GramineTools) {
  const secret = await mkdtemp(join(tmpdir(), 'cloister-gramine-'))
  try {
    const key = join(secret, 'key.pem')
    await createSigningKey(key)
    const [template, manifest] = [`${name}.manifest.template`, `${name}.manifest`]
    await runTool({
      command: tools.manifest ?? 'gramine-manifest',
      args: [template, manifest],
      cwd: folder,
    })
    await runTool({
      command: tools.sign ?? 'gramine-sgx-sign',
      args: [
        ...['--manifest', manifest, '--output', `${manifest}.sgx`, '--sigfile', `${name}.sig`],
        ...['--key', key, '--libpal', tools.libpal, '--quiet'],
      ],
      cwd: folder,
    })
    return verifySigstruct(await readFile(join(folder, `${name}.sig`)))
  } finally {
    await rm(secret, { recursive: true, force: true })
  }
}

/** What the tool measured is what was predicted, and it states what the image does. */
function assertAsBuilt(
  signed: SigstructFields,
  image: ImageManifest,
  predicted: Uint8Array,
): SigstructFields {
  const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
  if (hex(signed.enclaveHash) !== hex(predicted)) {
    const message = `gramine-sgx-sign measured ${hex(signed.enclaveHash)}, wanted ${hex(predicted)}`
    throw new BackendError('MEASUREMENT', message)
  }
  const { isvProdId, isvSvn, debug } = image.identity
  const isStated =
    signed.isvProdId === isvProdId &&
    signed.isvSvn === isvSvn &&
    isDebug(signed.attributes) === debug &&
    isDebug(signed.attributesMask)
  if (!isStated) throw new BackendError('TOOL', 'gramine-sgx-sign states another identity')
  return { ...signed, date: IMAGE_SIGNING_DATE }
}
