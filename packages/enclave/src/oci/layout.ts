import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { copyFile, open } from 'node:fs/promises'
import { join } from 'node:path'
import { canonicalJsonBytes } from '@cloister/sealed'
import { digestFile, makeFolder, openRegular, syncFolder, writeNew } from '../image/files.ts'
import { PackageError } from './errors.ts'
import {
  type Descriptor,
  isImage,
  MAX_DOCUMENT,
  MEDIA,
  type OciConfig,
  type OciIndex,
  type OciManifest,
  parseConfigDocument,
  parseIndexDocument,
  parseManifestDocument,
  REF_NAME,
} from './format.ts'
import { type Layer, writeLayer } from './layer.ts'
import type { LayerEntry } from './tree-entries.ts'

const LAYOUT = canonicalJsonBytes({ imageLayoutVersion: '1.0.0' })

const hexOf = (digest: string): string => digest.slice('sha256:'.length)

/** An OCI image layout under way. @see OCI image specification v1.1, "Image Layout" */
export class LayoutWriter {
  readonly #folder: string
  readonly #blobs: string
  readonly #manifests: Descriptor[] = []

  private constructor(folder: string) {
    this.#folder = folder
    this.#blobs = join(folder, 'blobs', 'sha256')
  }

  /** Begins a layout in an existing, empty folder. */
  static async begin(folder: string): Promise<LayoutWriter> {
    const layout = new LayoutWriter(folder)
    await makeFolder(join(folder, 'blobs'))
    await makeFolder(layout.#blobs)
    await writeNew(join(folder, 'oci-layout'), LAYOUT, 0o644)
    return layout
  }

  /** Writes a blob. */
  async blob(mediaType: string, bytes: Uint8Array): Promise<Descriptor> {
    const hex = createHash('sha256').update(bytes).digest('hex')
    const path = join(this.#blobs, hex)
    await writeNew(path, bytes, 0o644).catch((error: unknown) => {
      // The same bytes under the same name.
      if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error
    })
    return { mediaType, digest: `sha256:${hex}`, size: bytes.length }
  }

  /** Writes a document in RFC 8785 form. */
  async document(mediaType: string, value: unknown): Promise<Descriptor> {
    return await this.blob(mediaType, canonicalJsonBytes(value))
  }

  /** Writes a layer. */
  async layer(entries: readonly LayerEntry[]): Promise<Layer> {
    return await writeLayer(this.#blobs, entries)
  }

  /** Takes a blob of another layout; only such that its digest was verified. */
  async copyBlob(from: LayoutReader, { digest }: Descriptor): Promise<void> {
    const to = join(this.#blobs, hexOf(digest))
    // Another process may have changed it meanwhile: what was copied is what is looked at.
    await copyFile(from.pathOf(digest), to, constants.COPYFILE_FICLONE)
    await assertDigest(to, digest)
  }

  /** Lists a manifest in the index. */
  list(descriptor: Descriptor): void {
    this.#manifests.push(descriptor)
  }

  /** Writes the index, and has everything on disk. */
  async finish(): Promise<void> {
    const index = { schemaVersion: 2, mediaType: MEDIA.index, manifests: this.#manifests }
    await writeNew(join(this.#folder, 'index.json'), canonicalJsonBytes(index), 0o644)
    await syncFolder(this.#blobs)
    await syncFolder(this.#folder)
  }
}

/** An OCI image layout that somebody wrote. Everything that is read is held against its digest. */
export class LayoutReader {
  readonly #folder: string
  /** The index. */
  readonly index: OciIndex

  private constructor(folder: string, index: OciIndex) {
    this.#folder = folder
    this.index = index
  }

  /** Opens a layout. @throws PackageError with `LAYOUT`. */
  static async open(folder: string): Promise<LayoutReader> {
    const index = parseIndexDocument(await readSmall(join(folder, 'index.json')))
    return new LayoutReader(folder, index)
  }

  pathOf(digest: string): string {
    return join(this.#folder, 'blobs', 'sha256', hexOf(digest))
  }

  /** The manifest of a name, or the only one where none is given. @throws PackageError `LAYOUT` */
  find(name: string | undefined): Descriptor {
    const images = this.index.manifests.filter(
      found => isImage(found) && (name === undefined || found.annotations?.[REF_NAME] === name),
    )
    const [image, ...others] = images
    if (image !== undefined && others.length === 0) return image
    const names = this.index.manifests.map(({ annotations }) => annotations?.[REF_NAME] ?? '-')
    const wanted = name === undefined ? 'one image' : `one image ${name}`
    throw new PackageError('LAYOUT', `wanted ${wanted}, seen ${names.join(', ') || 'none'}`)
  }

  /** A document's bytes. @throws PackageError with `DIGEST`, `LAYOUT`. */
  async bytes({ digest, size }: Descriptor): Promise<Uint8Array> {
    const bytes = await readSmall(this.pathOf(digest)).catch((cause: unknown) => {
      throw new PackageError('DIGEST', `${digest} is missing`, { cause })
    })
    const seen = `sha256:${createHash('sha256').update(bytes).digest('hex')}`
    if (seen === digest && bytes.length === size) return bytes
    throw new PackageError('DIGEST', `wanted ${digest} of ${size} bytes, seen ${seen}`)
  }

  async manifest(descriptor: Descriptor): Promise<OciManifest> {
    return parseManifestDocument(await this.bytes(descriptor))
  }

  async config(descriptor: Descriptor): Promise<OciConfig> {
    return parseConfigDocument(await this.bytes(descriptor))
  }

  /** Holds a blob of any size against its digest. @throws PackageError with `DIGEST`. */
  async assertBlob({ digest, size }: Descriptor): Promise<void> {
    await assertDigest(this.pathOf(digest), digest, size)
  }
}

async function readSmall(path: string): Promise<Uint8Array> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  try {
    const stats = await file.stat()
    if (!stats.isFile() || stats.size > MAX_DOCUMENT) {
      throw new PackageError('LAYOUT', `${path}: wanted a file of at most ${MAX_DOCUMENT} bytes`)
    }
    return new Uint8Array(await file.readFile())
  } finally {
    await file.close()
  }
}

async function assertDigest(path: string, digest: string, size?: number): Promise<void> {
  const file = await openRegular(path).catch((cause: unknown) => {
    throw new PackageError('DIGEST', `${digest} is missing`, { cause })
  })
  try {
    const seen = await digestFile(file, size)
    if (`sha256:${seen.sha256}` === digest && (size === undefined || seen.size === size)) return
    const what = seen.sha256 === '' ? 'a longer one' : `sha256:${seen.sha256}`
    throw new PackageError('DIGEST', `wanted ${digest}, seen ${what}`)
  } finally {
    await file.close()
  }
}
