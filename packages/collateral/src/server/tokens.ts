import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { CodedError } from '@cloister/attestation'
import { writeWhole } from '../documents/store.ts'

/** A token's file that is not to be used: `MODE` others may read it; `WEAK` it is too short. */
export class TokenFileError extends CodedError<'MODE' | 'WEAK'> {}

const SHORTEST = 16
const LONGEST = 1024

/** A token that clients show in a header: known by its SHA-512 alone, compared in constant time. */
export class AccessToken {
  readonly #sha512: Uint8Array

  private constructor(sha512: Uint8Array) {
    this.#sha512 = sha512
  }

  /**
   * Reads a token's file, of mode 0600: the token, or `sha512:` and the 128 hexadecimal digits of its
   * hash. Where there is none, a token is made and written there.
   * @throws TokenFileError MODE, WEAK; the file system's errors
   */
  static async open(path: string): Promise<AccessToken> {
    const found = await readOwn(path)
    if (found !== undefined) return AccessToken.of(found, path)
    const token = randomBytes(32).toString('base64url')
    await writeWhole(dirname(path), basename(path), `${token}\n`, 0o600)
    return AccessToken.of(token, path)
  }

  /** A token, or its hash, as a file has it. @throws TokenFileError WEAK */
  static of(text: string, path: string): AccessToken {
    const hash = /^sha512:([0-9a-fA-F]{128})$/.exec(text)?.[1]
    if (hash !== undefined) return new AccessToken(new Uint8Array(Buffer.from(hash, 'hex')))
    if (text.length < SHORTEST || text.length > LONGEST) {
      throw new TokenFileError('WEAK', `${path}: wanted ${SHORTEST} to ${LONGEST} characters`)
    }
    return new AccessToken(sha512Of(text))
  }

  /** Whether what a client shows is the token. */
  isShown(shown: unknown): boolean {
    return typeof shown === 'string' && timingSafeEqual(sha512Of(shown), this.#sha512)
  }
}

/** @see Intel PCCS: tokens are compared by their SHA-512 */
function sha512Of(token: string): Uint8Array {
  return createHash('sha512').update(token).digest()
}

/**
 * Reads a secret's file that none but its owner may read; `undefined` where there is none.
 * @throws TokenFileError MODE; the file system's errors
 */
export async function readOwn(path: string): Promise<string | undefined> {
  try {
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
    try {
      const { mode } = await file.stat()
      if ((mode & 0o077) !== 0) {
        const seen = (mode & 0o777).toString(8)
        throw new TokenFileError('MODE', `${path} may be read by others (mode ${seen}, wanted 600)`)
      }
      return (await file.readFile('utf8')).trim()
    } finally {
      await file.close()
    }
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
}
