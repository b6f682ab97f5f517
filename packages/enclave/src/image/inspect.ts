import type { ImageManifest } from './manifest.ts'
import { type ExpectedImage, verifyImage } from './verify.ts'

/** An image in words and numbers, for people and for JSON. */
export interface ImageSummary {
  readonly folder: string
  readonly name: string
  /** MRENCLAVE, 64 hexadecimal digits. */
  readonly measurement: string
  /** MRSIGNER, 64 hexadecimal digits. */
  readonly mrSigner: string
  readonly identity: ImageManifest['identity']
  readonly entry: ImageManifest['entry']
  readonly environment: ImageManifest['environment']
  readonly network: ImageManifest['network']
  readonly resources: ImageManifest['resources']
  /** Root over the files, 64 hexadecimal digits. */
  readonly merkleRoot: string
  readonly fileCount: number
  readonly totalBytes: number
  /** The largest files, absolute paths in the image. */
  readonly largest: readonly { readonly path: string; readonly sizeBytes: number }[]
}

const LARGEST = 5

/**
 * Verifies an image and says what it is.
 * @throws ImageError
 */
export async function inspectImage(
  path: string,
  expected: ExpectedImage = {},
): Promise<ImageSummary> {
  const { folder, manifest, measurement, mrSigner } = await verifyImage(path, expected)
  const files = manifest.files.flatMap(entry =>
    entry.type === 'file' ? [{ path: `/${entry.path}`, sizeBytes: entry.size }] : [],
  )
  return {
    folder,
    name: manifest.name,
    measurement,
    mrSigner,
    identity: manifest.identity,
    entry: manifest.entry,
    environment: manifest.environment,
    network: manifest.network,
    resources: manifest.resources,
    merkleRoot: manifest.merkleRoot,
    fileCount: files.length,
    totalBytes: files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
    largest: files.sort((a, b) => b.sizeBytes - a.sizeBytes).slice(0, LARGEST),
  }
}
