import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { canonicalJsonBytes } from '@cloister/sealed'
import { openSigningTarget } from '../../enclave-file/signing-target.ts'
import { writeNew } from '../../image/files.ts'
import { type VerifiedImage, verifyImage } from '../../image/verify.ts'
import { bytesSource } from '../../measurement/byte-source.ts'
import { measureSdkEnclave, type SdkMeasurement } from '../../measurement/sdk-elf/measure.ts'
import { appraiseSigstruct, assertSecretSigner } from '../../sigstruct/appraise.ts'
import { createSigningKey } from '../../sigstruct/key.ts'
import { mrSignerOf, signSigstructBy, verifySigstruct } from '../../sigstruct/sign.ts'
import type { EnclaveSigner } from '../../sigstruct/signer.ts'
import { BackendError } from '../errors.ts'
import type { BuiltBackend } from '../gramine/build.ts'
import { preparedFolder } from '../prepared-folder.ts'
import { runTool } from '../tool.ts'
import { parseOcclumConfig } from './config.ts'
import { assertEnclaveXml } from './enclave-xml.ts'
import { occlumEntry } from './entry.ts'
import { type OcclumOptions, occlumConfig } from './occlum-json.ts'
import { SIGNED_LIBOS } from './signed-libos.ts'
import { layImage, removeHostFolder, treeRoot } from './tree.ts'
import { type OcclumWeakness, occlumWeaknesses } from './weaknesses.ts'

/** What to make ready for Occlum, and where. */
export interface BuildOcclumOptions extends OcclumOptions {
  /** An image folder. */
  readonly imageFolder: string
  /** Folder to make; nothing may be there yet. */
  readonly out: string
  readonly signer: EnclaveSigner
  /** `occlum` on the PATH, unless told. */
  readonly command?: string
}

/** An instance of Occlum, built and signed. */
export interface BuiltOcclum extends BuiltBackend {
  /** What the host may start. */
  readonly entryPoint: string
  /** Merkle root over the tree, 64 hexadecimal digits: what Occlum's measurement does not cover. */
  readonly merkleRoot: string
  /** Paths of the image that files of Occlum's stand in for. */
  readonly replaced: readonly string[]
  readonly weaknesses: readonly OcclumWeakness[]
}

/**
 * Makes an image ready to run under Occlum, by Occlum's own command: `init`, its tree and
 * `Occlum.json`, `build`, `print mrenclave`. MRENCLAVE is computed here as well, and both must be
 * the same. Occlum gets a key that is thrown away; the signer's signs what was compared.
 * @throws BackendError, ImageError, SdkEnclaveError, SigstructError
 */
export async function buildOcclum(options: BuildOcclumOptions): Promise<BuiltOcclum> {
  const image = await verifyImage(options.imageFolder)
  return await preparedFolder(options.out, folder => fill(folder, image, options))
}

async function fill(
  folder: string,
  image: VerifiedImage,
  options: BuildOcclumOptions,
): Promise<Omit<BuiltOcclum, 'folder'>> {
  const { manifest } = image
  const occlum = (...args: readonly string[]) =>
    runTool({ command: options.command ?? 'occlum', args, cwd: folder })
  await occlum('init')
  const tree = join(folder, 'image')
  await removeHostFolder(tree)
  const entry = await occlumEntry(manifest, image.root)
  const replaced = await layImage(manifest, image.root, tree)
  if (entry.script !== undefined) await writeNew(join(tree, entry.path), entry.script, 0o755)
  await writeNew(join(tree, 'job', 'manifest.json'), canonicalJsonBytes(manifest), 0o644)
  const config = occlumConfig(manifest, entry.path, options)
  await rm(join(folder, 'Occlum.json'), { force: true })
  const json = Buffer.from(`${JSON.stringify(config, undefined, 2)}\n`)
  await writeNew(join(folder, 'Occlum.json'), json, 0o644)
  const merkleRoot = await treeRoot(tree)

  await buildWithThrownAwayKey(occlum, options.edmm === true)
  const printed = (await occlum('print', 'mrenclave')).trim()
  assertEnclaveXml(await readFile(join(folder, 'build', 'Enclave.xml'), 'utf8'), manifest)
  const measured = await measureNewest(folder)
  const measurement = Buffer.from(measured.mrEnclave).toString('hex')
  if (printed !== measurement) {
    const message = `occlum print mrenclave says ${printed}, wanted ${measurement}`
    throw new BackendError('MEASUREMENT', message)
  }
  assertStated(measured, image)
  await sign(folder, manifest.identity.debug, options.signer)
  return {
    ...{ name: manifest.name, measurement, entryPoint: entry.path, merkleRoot, replaced },
    mrSigner: Buffer.from(mrSignerOf(options.signer.modulus)).toString('hex'),
    weaknesses: occlumWeaknesses(config),
  }
}

async function buildWithThrownAwayKey(
  occlum: (...args: readonly string[]) => Promise<string>,
  edmm: boolean,
): Promise<void> {
  const secret = await mkdtemp(join(tmpdir(), 'cloister-occlum-'))
  try {
    const key = join(secret, 'key.pem')
    await createSigningKey(key)
    await occlum('build', '--sign-key', key, '--enable-edmm', edmm ? 'Y' : 'N', '--sgx-mode', 'HW')
  } finally {
    await rm(secret, { recursive: true, force: true })
  }
}

/** The enclave that a current loader takes: metadata stand newest first. */
async function measureNewest(folder: string): Promise<SdkMeasurement> {
  const bytes = new Uint8Array(await readFile(join(folder, SIGNED_LIBOS)))
  const [newest] = await measureSdkEnclave(bytesSource(bytes))
  if (newest === undefined) throw new BackendError('TOOL', `${SIGNED_LIBOS} has no metadata`)
  return newest
}

/** What the tool signed states what the image does, debugging above all. */
function assertStated(measured: SdkMeasurement, { manifest }: VerifiedImage): void {
  const { isvProdId, isvSvn, debug } = manifest.identity
  const reasons = appraiseSigstruct(verifySigstruct(measured.sigstruct), {
    mrEnclave: Buffer.from(measured.mrEnclave).toString('hex'),
    isvProdId,
    minimumSvn: isvSvn,
    allowDebugEnclave: debug,
  }).filter(({ code }) => code !== 'DEBUG_UNMASKED')
  const [first] = reasons
  if (first === undefined) return
  const message = `occlum build: ${first.code}: wanted ${first.wanted}, seen ${first.seen}`
  throw new BackendError('TOOL', message)
}

async function sign(folder: string, debug: boolean, signer: EnclaveSigner): Promise<void> {
  const path = join(folder, SIGNED_LIBOS)
  const target = await openSigningTarget(path, debug ? { debugEnclave: true } : {})
  const signed: Uint8Array[] = []
  for (const fields of target.fields) {
    assertSecretSigner(fields, signer.modulus)
    signed.push(await signSigstructBy(fields, signer))
  }
  await target.write(signed)
}

/** What an instance's `Occlum.json` weakens. @throws BackendError with `MANIFEST`. */
export async function inspectOcclum(folder: string): Promise<readonly OcclumWeakness[]> {
  return occlumWeaknesses(parseOcclumConfig(await readFile(join(folder, 'Occlum.json'), 'utf8')))
}
