import { createHash, randomBytes } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { type FileHandle, open, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { Gzip } from 'fflate'
import { type Header, type Pack, pack } from 'tar-stream'
import { PackageError } from './errors.ts'
import { type Descriptor, MEDIA } from './format.ts'
import { type LayerEntry, withParents } from './tree-entries.ts'

/** A layer that was written. */
export interface Layer {
  readonly descriptor: Descriptor
  /** Digest of the layer before it was compressed. */
  readonly diffId: string
}

const EPOCH = new Date(0)

// Nothing of the machine or the moment: no owner, no time.
function headerOf(entry: LayerEntry): Partial<Header> & { readonly name: string } {
  const owner = { uid: 0, gid: 0, uname: '', gname: '', mtime: EPOCH }
  switch (entry.type) {
    case 'dir':
      return { ...owner, name: `${entry.path}/`, type: 'directory', mode: entry.mode }
    case 'link':
      return { ...owner, name: entry.path, type: 'symlink', linkname: entry.target, mode: 0o777 }
    case 'file':
      return { ...owner, name: entry.path, type: 'file', mode: entry.mode, size: entry.size }
  }
}

function addEntry(tar: Pack, entry: LayerEntry): Promise<void> {
  return new Promise((resolve, reject) => {
    const ended = (error?: Error | null) => {
      if (error) {
        const message = `${entry.path} cannot be read, or changes while it is`
        reject(new PackageError('SOURCE', message, { cause: error }))
      } else resolve()
    }
    const sink = tar.entry(headerOf(entry), ended)
    if (entry.type === 'file') createReadStream(entry.from).on('error', ended).pipe(sink)
  })
}

async function addAll(tar: Pack, entries: readonly LayerEntry[]): Promise<void> {
  try {
    for (const entry of entries) await addEntry(tar, entry)
    tar.finalize()
  } catch (error) {
    tar.destroy(error instanceof Error ? error : new Error(String(error)))
    throw error
  }
}

/** What a tar stream gives, which its types do not say. */
export async function* chunksOf(tar: Pack): AsyncIterable<Uint8Array> {
  for await (const chunk of tar) if (chunk instanceof Uint8Array) yield chunk
}

/** Compresses a stream into a file; gives both digests and the size. */
async function compressInto(file: FileHandle, tar: Pack) {
  const [plain, packed] = [createHash('sha256'), createHash('sha256')]
  const pieces: Uint8Array[] = []
  let size = 0
  // JavaScript, and not zlib: the same bytes whatever the processor can do.
  const gzip = new Gzip({ level: 6, mtime: 0 }, piece => pieces.push(piece))
  const flush = async () => {
    for (const piece of pieces.splice(0)) {
      packed.update(piece)
      size += piece.length
      await file.writeFile(piece)
    }
  }
  for await (const chunk of chunksOf(tar)) {
    plain.update(chunk)
    gzip.push(chunk)
    await flush()
  }
  gzip.push(new Uint8Array(0), true)
  await flush()
  return { diffId: plain.digest('hex'), digest: packed.digest('hex'), size }
}

/**
 * Writes a layer as a blob: a tar archive in the order of its paths, compressed. The same entries
 * give the same bytes on any machine.
 * @param blobs - Folder of the layout's SHA-256 blobs.
 * @throws PackageError with `SOURCE`
 */
export async function writeLayer(blobs: string, entries: readonly LayerEntry[]): Promise<Layer> {
  const temporary = join(blobs, `.${randomBytes(6).toString('hex')}.tmp`)
  const file = await open(temporary, 'wx', 0o644)
  try {
    const tar = pack()
    const [written] = await Promise.all([
      compressInto(file, tar),
      addAll(tar, withParents(entries)),
    ])
    await file.sync()
    await file.close()
    await rename(temporary, join(blobs, written.digest))
    return {
      descriptor: {
        mediaType: MEDIA.layer,
        digest: `sha256:${written.digest}`,
        size: written.size,
      },
      diffId: `sha256:${written.diffId}`,
    }
  } catch (error) {
    await file.close().catch(() => undefined)
    await rm(temporary, { force: true })
    throw error
  }
}
