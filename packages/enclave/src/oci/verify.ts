import type { KeyObject } from 'node:crypto'
import { PackageError } from './errors.ts'
import { type Descriptor, isImage, REF_NAME } from './format.ts'
import { gunzipDigest } from './gunzip-digest.ts'
import { LayoutReader } from './layout.ts'
import { type PackagedImage, SBOM_SUFFIX } from './package.ts'
import { assertSigned } from './signature.ts'

/**
 * Verifies a package: every image is signed by the key under the name that it goes by, and every
 * blob of it is the one that was signed, layers before and after they were compressed. Whose
 * enclave is in it, is another matter: verify that once it is unpacked.
 * @param key - The P-256 public key that packages of this origin are signed with.
 * @throws PackageError
 */
export async function verifyPackage(
  folder: string,
  key: KeyObject,
): Promise<readonly PackagedImage[]> {
  const layout = await LayoutReader.open(folder).catch((cause: unknown) => {
    if (cause instanceof PackageError) throw cause
    throw new PackageError('LAYOUT', `${folder} is no OCI layout`, { cause })
  })
  const images = layout.index.manifests.filter(isImage)
  if (images.length === 0) throw new PackageError('LAYOUT', `${folder} holds no image`)
  const verified: PackagedImage[] = []
  for (const image of images) {
    const name = image.annotations?.[REF_NAME] ?? ''
    await assertSigned(layout, name, image, key)
    verified.push({ name, digest: image.digest, sizeBytes: await assertWhole(layout, image) })
  }
  for (const descriptor of layout.index.manifests) {
    if (descriptor.artifactType !== undefined) {
      await assertArtifact(layout, descriptor, images, key)
    }
  }
  return verified
}

async function assertWhole(layout: LayoutReader, image: Descriptor): Promise<number> {
  const { config, layers } = await layout.manifest(image)
  const { rootfs } = await layout.config(config)
  if (rootfs.diff_ids.length !== layers.length) {
    throw new PackageError('LAYOUT', 'layers and their digests differ in number')
  }
  let size = 0
  for (const [index, layer] of layers.entries()) {
    await layout.assertBlob(layer)
    const seen = await gunzipDigest(layout.pathOf(layer.digest), layer.mediaType)
    const wanted = rootfs.diff_ids[index]
    if (seen !== wanted) {
      throw new PackageError('DIGEST', `layer ${layer.digest}: wanted ${wanted}, seen ${seen}`)
    }
    size += layer.size
  }
  return size
}

/** An artifact refers to an image that it is named after, and is signed as that is. */
async function assertArtifact(
  layout: LayoutReader,
  descriptor: Descriptor,
  images: readonly Descriptor[],
  key: KeyObject,
): Promise<void> {
  const { layers, subject } = await layout.manifest(descriptor)
  const name = descriptor.annotations?.[REF_NAME] ?? ''
  // The same image may go by several names.
  const isOfImage = images.some(
    image =>
      image.digest === subject?.digest &&
      name === `${image.annotations?.[REF_NAME] ?? ''}${SBOM_SUFFIX}`,
  )
  if (!isOfImage) {
    throw new PackageError('LAYOUT', `${name} ${descriptor.digest} refers to no image of its name`)
  }
  await assertSigned(layout, name, descriptor, key)
  for (const layer of layers) await layout.assertBlob(layer)
}
