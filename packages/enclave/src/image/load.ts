import { rm, symlink } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { ImageError, type ImageProblem, imageErrorOf } from './errors.ts'
import { copyNew, copySmall, forEachOf, makeFolder, openRegular } from './files.ts'
import type { ImageEntry } from './manifest.ts'
import { type ExpectedImage, openImage, type VerifiedImage } from './verify.ts'

const AT_ONCE = 4

type File = ImageEntry & { readonly type: 'file' }

async function loadFile(from: string, to: string, entry: File): Promise<ImageProblem | undefined> {
  const path = `root/${entry.path}`
  const input = await openRegular(join(from, entry.path)).catch(() => undefined)
  if (input === undefined) {
    return { code: 'MISSING', path, wanted: 'a file that can be read', seen: 'none' }
  }
  try {
    const stats = await input.stat()
    if (!stats.isFile() || stats.size !== entry.size) {
      const seen = stats.isFile() ? `${stats.size} bytes` : 'something else'
      return { code: 'CHANGED', path, wanted: `a file of ${entry.size} bytes`, seen }
    }
    const mode = Number.parseInt(entry.mode, 8)
    const target = join(to, entry.path)
    const seen =
      copySmall(join(from, entry.path), target, entry.size, mode) ??
      (await copyNew(input, target, { mode, durable: false, limit: entry.size }))
    if (seen.size === entry.size && seen.sha256 === entry.sha256) return undefined
    return { code: 'CHANGED', path, wanted: `SHA-256 ${entry.sha256}`, seen: seen.sha256 }
  } finally {
    await input.close()
  }
}

async function load(from: string, to: string, entries: readonly ImageEntry[]): Promise<void> {
  const files: File[] = []
  for (const entry of entries) {
    if (entry.type === 'dir') await makeFolder(join(to, entry.path))
    else if (entry.type === 'link') await symlink(entry.target, join(to, entry.path))
    else files.push(entry)
  }
  const problems: ImageProblem[] = []
  await forEachOf(files, AT_ONCE, async entry => {
    const problem = await loadFile(from, to, entry)
    if (problem !== undefined) problems.push(problem)
  })
  const [first, ...rest] = problems
  if (first !== undefined) throw imageErrorOf([first, ...rest])
}

/**
 * Loads an image as a processor loads an enclave: copies its tree into a folder of the caller's own
 * and measures what is copied. What is checked is what will run: whoever can write to the image
 * folder meanwhile changes nothing. Only what the manifest names is copied.
 * @param target - Folder to make, where nobody else may write; removed again on failure.
 * @param expected - What the caller knows about the image.
 * @returns The image, with `root` in `target`.
 * @throws ImageError with what {@link openImage} throws, and `EXISTS`, `MISSING`, `CHANGED`, `WRITE`.
 */
export async function loadImage(
  path: string,
  target: string,
  expected: ExpectedImage = {},
): Promise<VerifiedImage> {
  const image = await openImage(path, expected)
  const root = resolve(target)
  try {
    await makeFolder(root)
  } catch (cause) {
    throw new ImageError('EXISTS', `${root} cannot be made, or exists already`, { cause })
  }
  try {
    await load(image.root, root, image.manifest.files)
  } catch (cause) {
    await rm(root, { recursive: true, force: true })
    if (cause instanceof ImageError) throw cause
    throw new ImageError('WRITE', `cannot copy ${image.folder} to ${root}`, { cause })
  }
  return { ...image, root } as VerifiedImage
}
