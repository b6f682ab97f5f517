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
 * first line names its interpreter, which is measured with it.
 * @param root - The image's tree.
 * @throws BackendError with `OPTION` for a command of another form.
 */
export async function occlumEntry(manifest: ImageManifest, root: string): Promise<OcclumEntry> {
  const [program = '', script, ...others] = manifest.entry.init
  if (script === undefined) return { path: program, script: undefined }
  const isFile = manifest.files.some(({ path, type }) => type === 'file' && `/${path}` === script)
  if (others.length > 0 || !isFile || /\s/.test(program)) {
    const wanted = 'a program, or an interpreter and its script'
    const message = `entry.init: under Occlum the host chooses arguments: wanted ${wanted}`
    throw new BackendError('OPTION', message)
  }
  const content = await readFile(join(root, script))
  const body = content.subarray(content.indexOf('#!') === 0 ? content.indexOf('\n') + 1 : 0)
  const path = `/cloister-init${extname(script)}`
  return { path, script: Buffer.concat([Buffer.from(`#!${program}\n`), body]) }
}
