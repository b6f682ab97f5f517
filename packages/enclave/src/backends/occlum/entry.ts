import { readFile } from 'node:fs/promises'
import { extname, join } from 'node:path'
import type { ImageManifest } from '../../image/manifest.ts'
import { BackendError } from '../errors.ts'

/** What the host starts: the one entry point. */
export interface OcclumEntry {
  /** Absolute path in the image. */
  readonly path: string
  /** A file to write there; undefined where the image has it. */
  readonly script: Uint8Array | undefined
}

/**
 * The entry point for an image's init. Under Occlum the host chooses the arguments of whatever it
 * may start, so that it may start no interpreter: an init that is a script becomes a file whose
 * first line names its interpreter, and one option for it at most, which is measured with it.
 * @param root - The image's tree.
 * @throws BackendError with `OPTION` for a command of another form.
 */
export async function occlumEntry(manifest: ImageManifest, root: string): Promise<OcclumEntry> {
  const [program = '', ...rest] = manifest.entry.init
  if (rest.length === 0) return { path: program, script: undefined }
  const script = rest.at(-1) ?? ''
  const options = rest.slice(0, -1)
  const isFile = manifest.files.some(({ path, type }) => type === 'file' && `/${path}` === script)
  const interpreter = [program, ...options]
  const isPlain = options.length <= 1 && options.every(option => option.startsWith('-'))
  if (!isPlain || !isFile || interpreter.some(word => /\s/.test(word))) {
    const wanted = 'a program, or an interpreter, one option or none, and its script'
    const message = `entry.init: under Occlum the host chooses arguments: wanted ${wanted}`
    throw new BackendError('OPTION', message)
  }
  const content = await readFile(join(root, script))
  const body = content.subarray(content.indexOf('#!') === 0 ? content.indexOf('\n') + 1 : 0)
  const path = `/cloister-init${extname(script)}`
  return { path, script: Buffer.concat([Buffer.from(`#!${interpreter.join(' ')}\n`), body]) }
}
