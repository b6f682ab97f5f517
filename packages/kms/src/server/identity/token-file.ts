import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import { KmsError } from '../../protocol/errors.ts'

/** Compares tokens in constant time. */
export function isSameToken(offered: string, wanted: string): boolean {
  const [left, right] = [offered, wanted].map(token => createHash('sha256').update(token).digest())
  return left !== undefined && right !== undefined && timingSafeEqual(left, right)
}

/** A fresh token: 32 random bytes, base64url. */
export function newToken(): string {
  return randomBytes(32).toString('base64url')
}

/**
 * Reads a token; undefined where there is no file.
 * @throws KmsError INTEGRITY when others may read it, or it holds no token
 */
export async function readToken(path: string): Promise<string | undefined> {
  try {
    const { mode } = await stat(path)
    if ((mode & 0o077) !== 0) {
      const seen = (mode & 0o777).toString(8)
      throw new KmsError('INTEGRITY', `${path} may be read by others (mode ${seen}, wanted 600)`)
    }
    const token = (await readFile(path, 'utf8')).trim()
    if (!/^[A-Za-z0-9_-]{43}$/.test(token)) {
      throw new KmsError('INTEGRITY', `${path} holds no token; remove it to have it written anew`)
    }
    return token
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
}
