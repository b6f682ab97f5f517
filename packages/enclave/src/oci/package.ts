import type { KeyObject } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { preparedFolder } from '../backends/prepared-folder.ts'
import { type Contents, contentsOf, WORKDIR } from './contents.ts'
import { PackageError } from './errors.ts'
import { type Descriptor, MEDIA, type OciConfig, REF_NAME } from './format.ts'
import type { Layer } from './layer.ts'
import { LayoutReader, LayoutWriter } from './layout.ts'
import { filesSbom } from './sbom.ts'
import { assertPackageKey, signImage } from './signature.ts'

/** An image of an OCI layout to build on. */
export interface BaseImage {
  /** The layout's folder, as `skopeo copy docker://… oci:FOLDER` writes it. */
  readonly layout: string
  /** Its name in there; not needed where there is one image. */
  readonly name?: string
}

/** What to package, and where. */
export interface PackageOptions {
  /** An image folder, or what a backend made of one. */
  readonly folder: string
  /** Layout to make; nothing may be there yet. */
  readonly out: string
  /** P-256 private key that signs the package: not the enclave's. */
  readonly key: KeyObject
  /** With the tools that build; the build image stands on it. */
  readonly base?: BaseImage
  /** With the run time alone; the customer image stands on it. */
  readonly runtime?: BaseImage
  /** A CycloneDX file; without one, a list of the files is made. */
  readonly sbomFile?: string
}

/** An image that was packaged. */
export interface PackagedImage {
  /** Its name in the layout. */
  readonly name: string
  readonly digest: string
  readonly sizeBytes: number
}

/** A package that was written. */
export interface WrittenPackage {
  /** Absolute path of the OCI layout. */
  readonly folder: string
  readonly images: readonly PackagedImage[]
}

/** Behind an image's name it names the SBOM that refers to the image. */
export const SBOM_SUFFIX = '-sbom'

const EPOCH = '1970-01-01T00:00:00Z'
/** Nobody. */
const USER = '65534:65534'

/** What an image stands on. */
interface Ground {
  readonly layers: readonly Descriptor[]
  readonly config: OciConfig
}

const NOTHING: Ground = {
  layers: [],
  config: { architecture: 'amd64', os: 'linux', rootfs: { type: 'layers', diff_ids: [] } },
}

/**
 * Packages an instance as OCI images, without a Docker daemon: where a base is given, the base
 * itself (`NAME-base`) and the build stage on it (`NAME-build`); and the customer's image (`NAME`),
 * which is the run time and the instance alone. A CycloneDX SBOM refers to it, and each is signed.
 * But for the signatures the same input gives the same bytes on any machine.
 * @throws PackageError, ImageError, EnclaveFileError, BackendError
 */
export async function packageImages(options: PackageOptions): Promise<WrittenPackage> {
  assertPackageKey(options.key)
  const contents = await contentsOf(options.folder)
  return await preparedFolder(options.out, async folder => {
    const layout = await LayoutWriter.begin(folder)
    const images = await write(layout, contents, options)
    await layout.finish()
    return { images }
  })
}

async function write(
  layout: LayoutWriter,
  contents: Contents,
  options: PackageOptions,
): Promise<readonly PackagedImage[]> {
  const { base, runtime, key } = options
  const { name } = contents
  const layers = [await layout.layer(contents.files), await layout.layer(contents.identity)]
  const images: PackagedImage[] = []
  const add = async (as: string, image: Descriptor, ground: Ground, added: readonly Layer[]) => {
    const all = [...ground.layers, ...added.map(({ descriptor }) => descriptor)]
    layout.list({ ...image, annotations: namesOf(as) })
    await signImage(layout, as, image, key)
    const sizeBytes = all.reduce((sum, { size }) => sum + size, 0)
    images.push({ name: as, digest: image.digest, sizeBytes })
  }
  if (base !== undefined) {
    const ground = await groundOf(layout, base)
    await add(`${name}-base`, await imageOf(layout, ground, [], undefined), ground, [])
    const built = await imageOf(layout, ground, layers, contents)
    await add(`${name}-build`, built, ground, layers)
  }
  const ground = runtime === undefined ? NOTHING : await groundOf(layout, runtime)
  const customer = await imageOf(layout, ground, layers, contents)
  await add(name, customer, ground, layers)
  const sbom = await attachSbom(layout, customer, await sbomOf(contents, options))
  const sbomName = `${name}${SBOM_SUFFIX}`
  layout.list({ ...sbom, annotations: { [REF_NAME]: sbomName } })
  await signImage(layout, sbomName, sbom, key)
  return images
}

/** Names by which skopeo, podman and buildah find an image, and by which Docker tags it. */
function namesOf(name: string): Readonly<Record<string, string>> {
  return { [REF_NAME]: name, 'io.containerd.image.name': `docker.io/library/${name}:latest` }
}

/** Takes over the layers of another layout's image. @throws PackageError with `BASE`. */
async function groundOf(layout: LayoutWriter, base: BaseImage): Promise<Ground> {
  try {
    const reader = await LayoutReader.open(base.layout)
    const manifest = await reader.manifest(reader.find(base.name))
    const config = await reader.config(manifest.config)
    if (config.rootfs.diff_ids.length !== manifest.layers.length) {
      throw new PackageError('LAYOUT', 'layers and their digests differ in number')
    }
    for (const layer of manifest.layers) await layout.copyBlob(reader, layer)
    const layers = manifest.layers.map(({ mediaType, digest, size }) => ({
      mediaType,
      digest,
      size,
    }))
    return { layers, config }
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new PackageError('BASE', `${base.layout}: ${reason}`, { cause })
  }
}

async function imageOf(
  layout: LayoutWriter,
  ground: Ground,
  added: readonly Layer[],
  contents: Contents | undefined,
): Promise<Descriptor> {
  const { architecture, os, config: inherited = {}, rootfs } = ground.config
  const history = Array.from({ length: ground.layers.length + added.length }, () => ({
    created: EPOCH,
    created_by: 'cloister enclave package',
  }))
  const config = await layout.document(MEDIA.config, {
    ...{ architecture, os, created: EPOCH },
    config: contents === undefined ? inherited : commandOf(inherited, contents),
    rootfs: {
      type: 'layers',
      diff_ids: [...rootfs.diff_ids, ...added.map(({ diffId }) => diffId)],
    },
    history,
  })
  return await layout.document(MEDIA.manifest, {
    schemaVersion: 2,
    mediaType: MEDIA.manifest,
    config,
    layers: [...ground.layers, ...added.map(({ descriptor }) => descriptor)],
  })
}

function commandOf(inherited: NonNullable<OciConfig['config']>, { entrypoint, kind }: Contents) {
  const { Env } = inherited
  return {
    ...(Env === undefined ? {} : { Env }),
    User: USER,
    WorkingDir: `/${WORKDIR}`,
    ...(entrypoint === undefined ? {} : { Entrypoint: entrypoint }),
    Labels: { 'org.cloister.kind': kind },
  }
}

async function sbomOf(contents: Contents, { sbomFile }: PackageOptions): Promise<Uint8Array> {
  if (sbomFile !== undefined) return await readFile(sbomFile)
  const own = contents.files.find(({ path }) => path === `${WORKDIR}/sbom.cdx.json`)
  return own?.type === 'file' ? await readFile(own.from) : await filesSbom(contents)
}

/** An artifact that refers to an image. @see OCI image specification v1.1, "subject" */
async function attachSbom(
  layout: LayoutWriter,
  subject: Descriptor,
  sbom: Uint8Array,
): Promise<Descriptor> {
  const artifactType = MEDIA.cycloneDx
  const { mediaType, digest, size } = subject
  const manifest = await layout.document(MEDIA.manifest, {
    schemaVersion: 2,
    mediaType: MEDIA.manifest,
    artifactType,
    config: await layout.blob(MEDIA.empty, Buffer.from('{}')),
    layers: [await layout.blob(MEDIA.cycloneDx, sbom)],
    subject: { mediaType, digest, size },
  })
  return { ...manifest, artifactType }
}
