import { createDecipheriv } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { open } from 'node:fs/promises'
import { CodedError } from '../errors.ts'

/**
 * Why a file of the older stack cannot be read: `CBC_LAYOUT` it has neither layout; `CBC_KEY` the data
 * key's text is none, or opens something else. That a file is opened does not say that it is whole.
 */
export type CbcCode = 'CBC_LAYOUT' | 'CBC_KEY'

/** Thrown for what a `.cbc` file or its data key can have wrong, as far as one can tell. */
export class CbcError extends CodedError<CbcCode> {}

const BLOCK = 16
const MAC = 32

/** Header of the last versions: lengths, the wrapped data key, IV, filler. */
const LONG_HEADER = 400
const MAX_WRAPPED_KEY = LONG_HEADER - 8 - BLOCK

/** Header of those before: 0x80, seconds since 1970 in 8 bytes, IV. */
const SHORT_HEADER = 1 + 8 + BLOCK

/** The older stack takes the text's bytes, and not what they encode: 17 at least, or no key at all. */
const DATA_KEY_TEXT = /^[A-Za-z0-9+/]{17,86}={0,2}$/

/**
 * Plaintext of a `.cbc` file in either layout of the older stack. **Nothing of it is authenticated**:
 * its HMAC was over the wrong bytes and never compared, so whoever held the file may have changed it.
 * @param dataKey - The data key as its key service gave it: base64 text.
 * @throws CbcError
 */
export async function* readUnauthenticatedCbc(
  file: string,
  dataKey: string,
): AsyncGenerator<Uint8Array, void, undefined> {
  if (!DATA_KEY_TEXT.test(dataKey)) {
    throw new CbcError('CBC_KEY', 'data key: wanted base64 text of 17 bytes and more')
  }
  const { bodyAt, bodyEnd, iv } = await layoutOf(file)
  // Characters 0 to 15 are the MAC's key. A shorter text was filled with zeros.
  const key = Buffer.alloc(BLOCK)
  Buffer.from(dataKey, 'latin1').copy(key, 0, BLOCK, 2 * BLOCK)
  const decipher = createDecipheriv('aes-128-cbc', key, iv)
  const body = createReadStream(file, { start: bodyAt, end: bodyEnd - 1, highWaterMark: 1 << 20 })
  for await (const chunk of body) yield decipher.update(chunk as Uint8Array)
  try {
    yield decipher.final()
  } catch (cause) {
    throw new CbcError('CBC_KEY', `${file}: another data key's, or changed at its end`, { cause })
  }
}

/** Where the ciphertext is. The first byte tells the layouts apart: 0x80, or a length below 377. */
async function layoutOf(file: string) {
  const handle = await open(file)
  try {
    const { size } = await handle.stat()
    const header = Buffer.alloc(LONG_HEADER)
    const { bytesRead } = await handle.read(header, 0, LONG_HEADER, 0)
    const isShort = header[0] === 0x80
    const bodyAt = isShort ? SHORT_HEADER : LONG_HEADER
    const bodyEnd = size - MAC
    const ivAt = isShort ? 9 : ivOfLong(header)
    const length = bodyEnd - bodyAt
    if (bytesRead < bodyAt || ivAt === undefined || length < BLOCK || length % BLOCK !== 0) {
      const wanted = 'a header of 25 or 400 bytes, whole blocks of 16, and 32 bytes of HMAC'
      throw new CbcError('CBC_LAYOUT', `${file}: wanted ${wanted}, seen something else`)
    }
    return { bodyAt, bodyEnd, iv: header.subarray(ivAt, ivAt + BLOCK) }
  } finally {
    await handle.close()
  }
}

function ivOfLong(header: Buffer): number | undefined {
  const wrapped = header.readInt32BE(0)
  const isLong = wrapped >= 0 && wrapped <= MAX_WRAPPED_KEY && header.readInt32BE(4) === BLOCK
  return isLong ? 8 + wrapped : undefined
}
