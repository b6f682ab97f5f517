import { createReadStream } from 'node:fs'
import { open, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { canonicalJsonBytes } from '@cloister/sealed'
import { type Pack, pack } from 'tar-stream'
import { PackageError } from './errors.ts'
import { type Descriptor, isImage, REF_NAME } from './format.ts'
import { chunksOf } from './layer.ts'
import { LayoutReader } from './layout.ts'
import { entriesBelow } from './tree-entries.ts'

const EPOCH = new Date(0)

/**
 * Writes a layout as one tar archive that Docker loads (`docker load`) and skopeo and podman copy
 * (`oci-archive:`, `docker-archive:`): the layout itself, and beside it the list of its images in
 * Docker's form.
 * @param out - Nothing may be there yet.
 * @throws PackageError with `EXISTS`, `LAYOUT`, `WRITE`
 */
export async function archivePackage(folder: string, out: string): Promise<void> {
  const temporary = `${out}.tmp`
  if (await stat(out).catch(() => undefined)) {
    throw new PackageError('EXISTS', `${out} exists already`)
  }
  const file = await open(temporary, 'wx', 0o644).catch((cause: unknown) => {
    throw new PackageError('WRITE', `cannot write ${temporary}`, { cause })
  })
  try {
    const tar = pack()
    const write = async () => {
      for await (const chunk of chunksOf(tar)) await file.writeFile(chunk)
    }
    await Promise.all([write(), fill(tar, folder)])
    await file.sync()
    await file.close()
    await rename(temporary, out)
  } catch (error) {
    await file.close().catch(() => undefined)
    await rm(temporary, { force: true })
    throw error
  }
}

async function fill(tar: Pack, folder: string): Promise<void> {
  try {
    const docker = await dockerManifest(await LayoutReader.open(folder))
    for (const entry of await entriesBelow(folder, '.')) {
      const name = entry.path.slice('./'.length)
      if (entry.type === 'dir') await add(tar, `${name}/`, undefined, 0)
      else if (entry.type === 'file') await add(tar, name, join(folder, name), entry.size)
    }
    await new Promise<void>((resolve, reject) => {
      const header = { name: 'manifest.json', mode: 0o644, mtime: EPOCH }
      tar.entry(header, Buffer.from(docker), error => (error ? reject(error) : resolve()))
    })
    tar.finalize()
  } catch (error) {
    tar.destroy(error instanceof Error ? error : new Error(String(error)))
    throw error
  }
}

function add(tar: Pack, name: string, from: string | undefined, size: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const type = from === undefined ? 'directory' : 'file'
    const mode = from === undefined ? 0o755 : 0o644
    const ended = (error?: Error | null) => (error ? reject(error) : resolve())
    const sink = tar.entry({ name, type, mode, size, mtime: EPOCH }, ended)
    if (from !== undefined) createReadStream(from).on('error', ended).pipe(sink)
  })
}

/** What `docker save` calls manifest.json: for each image its configuration and layers. */
async function dockerManifest(layout: LayoutReader): Promise<Uint8Array> {
  const pathOf = ({ digest }: Descriptor) => `blobs/${digest.replace(':', '/')}`
  const listed = []
  for (const descriptor of layout.index.manifests) {
    const name = descriptor.annotations?.[REF_NAME]
    if (name === undefined || !isImage(descriptor)) continue
    const { config, layers } = await layout.manifest(descriptor)
    listed.push({
      Config: pathOf(config),
      RepoTags: [`${name}:latest`],
      Layers: layers.map(pathOf),
    })
  }
  return canonicalJsonBytes(listed)
}
