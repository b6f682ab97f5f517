import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { pipeline } from 'node:stream/promises'
import { createGunzip } from 'node:zlib'
import { PackageError } from './errors.ts'

/** Largest layer once it is decompressed. */
const MAX_LAYER = 64 * 2 ** 30

/** Digest of a layer before it was compressed. @throws PackageError with `DIGEST`. */
export async function gunzipDigest(path: string, mediaType: string): Promise<string> {
  const hash = createHash('sha256')
  let size = 0
  const digest = async (chunks: AsyncIterable<Uint8Array>) => {
    for await (const chunk of chunks) {
      size += chunk.length
      if (size > MAX_LAYER)
        throw new PackageError('DIGEST', `a layer of more than ${MAX_LAYER} bytes`)
      hash.update(chunk)
    }
  }
  const file = createReadStream(path)
  try {
    if (mediaType.endsWith('gzip')) await pipeline(file, createGunzip(), digest)
    else if (mediaType.endsWith('.tar')) await pipeline(file, digest)
    else throw new PackageError('LAYOUT', `a layer of type ${mediaType} is not known here`)
  } catch (cause) {
    if (cause instanceof PackageError) throw cause
    throw new PackageError('DIGEST', 'a layer does not decompress', { cause })
  }
  return `sha256:${hash.digest('hex')}`
}
