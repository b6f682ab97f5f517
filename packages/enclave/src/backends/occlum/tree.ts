import { copyFile, lstat, mkdir, readdir, readFile, readlink, rm, symlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import {
  comparePaths,
  entriesRoot,
  type ImageEntry,
  type ImageManifest,
} from '../../image/manifest.ts'
import { BlobHasher } from '../../store/blob.ts'

/** Whether something stands at a path, and what. */
async function kindAt(path: string): Promise<'file' | 'dir' | 'link' | 'none'> {
  const stats = await lstat(path).catch(() => undefined)
  if (stats === undefined) return 'none'
  return stats.isSymbolicLink() ? 'link' : stats.isDirectory() ? 'dir' : 'file'
}

/**
 * Lays an image's tree over the one that `occlum init` made. Where Occlum has put a file of its own,
 * its loader and C library above all, that one stays: the image's would make system calls that no
 * enclave can.
 * @returns paths of the image that Occlum's own files stand in for
 */
export async function layImage(
  manifest: ImageManifest,
  root: string,
  into: string,
): Promise<readonly string[]> {
  const kept: string[] = []
  for (const entry of manifest.files) {
    const to = join(into, entry.path)
    const there = await kindAt(to)
    switch (entry.type) {
      case 'dir':
        // A link of Occlum's to a folder is that folder.
        if (there === 'none') await mkdir(to)
        break
      case 'link':
        if (there === 'none') await symlink(entry.target, to)
        else if (there !== 'dir') kept.push(entry.path)
        break
      case 'file':
        if (there !== 'none') {
          kept.push(entry.path)
          break
        }
        await mkdir(dirname(to), { recursive: true })
        await copyFile(join(root, entry.path), to)
    }
  }
  return kept
}

/** Takes what `occlum init` put there that no image needs: where a host folder would be mounted. */
export async function removeHostFolder(into: string): Promise<void> {
  await rm(join(into, 'host'), { recursive: true, force: true })
}

/**
 * Merkle root over a tree as it lies there, by the rules of image manifests: the measurement that
 * Occlum's own does not give.
 * @returns 64 hexadecimal digits
 */
export async function treeRoot(root: string): Promise<string> {
  const entries: ImageEntry[] = []
  for await (const entry of entriesBelow(root, '')) entries.push(entry)
  return entriesRoot(entries.sort((a, b) => comparePaths(a.path, b.path)))
}

async function* entriesBelow(root: string, folder: string): AsyncIterable<ImageEntry> {
  for (const name of await readdir(join(root, folder))) {
    const path = join(folder, name)
    const full = join(root, path)
    const stats = await lstat(full)
    if (stats.isDirectory()) {
      yield { path, type: 'dir', mode: '0755' }
      yield* entriesBelow(root, path)
    } else if (stats.isSymbolicLink()) {
      yield { path, type: 'link', target: await readlink(full) }
    } else {
      const hasher = new BlobHasher()
      hasher.update(await readFile(full))
      const mode = (stats.mode & 0o100) === 0 ? '0644' : '0755'
      yield { path, type: 'file', mode, ...hasher.digest() }
    }
  }
}
