import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { open, readFile, rename, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { KmsError } from '../../protocol/errors.ts'

/** Name of the file, in the data folder, that holds the token. */
export const ENROLMENT_FILE = 'enrolment-token'

/**
 * The token that opens one account. Whoever may read the data folder may enrol; each token works
 * once, and the file then holds the next.
 */
export class EnrolmentToken {
  readonly #path: string
  #current: string

  private constructor(path: string, current: string) {
    this.#path = path
    this.#current = current
  }

  /** Reads the token of a data folder, or makes the first. */
  static async open(dataDir: string): Promise<EnrolmentToken> {
    const path = join(dataDir, ENROLMENT_FILE)
    const found = await readPrivate(path)
    if (found !== undefined) return new EnrolmentToken(path, found)
    const token = new EnrolmentToken(path, newToken())
    await writePrivate(path, token.#current)
    return token
  }

  /**
   * Takes the token; the next one is in the file before this returns.
   * @throws KmsError ENROLMENT_REFUSED
   */
  async take(offered: string): Promise<void> {
    const wanted = createHash('sha256').update(this.#current).digest()
    const seen = createHash('sha256').update(offered).digest()
    if (!timingSafeEqual(wanted, seen)) {
      throw new KmsError(
        'ENROLMENT_REFUSED',
        `not the enrolment token; the current one is in the file ${ENROLMENT_FILE} of the data folder`,
      )
    }
    this.#current = newToken()
    await writePrivate(this.#path, this.#current)
  }
}

function newToken(): string {
  return randomBytes(32).toString('base64url')
}

async function readPrivate(path: string): Promise<string | undefined> {
  try {
    const { mode } = await stat(path)
    if ((mode & 0o077) !== 0) {
      const seen = (mode & 0o777).toString(8)
      throw new KmsError('INTEGRITY', `${path} may be read by others (mode ${seen}, wanted 600)`)
    }
    const token = (await readFile(path, 'utf8')).trim()
    if (!/^[A-Za-z0-9_-]{43}$/.test(token)) {
      throw new KmsError('INTEGRITY', `${path} holds no token; remove it to have a new one made`)
    }
    return token
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
}

async function writePrivate(path: string, text: string): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`
  const handle = await open(temporary, 'wx', 0o600)
  try {
    await handle.writeFile(text)
    await handle.sync()
  } finally {
    await handle.close()
  }
  await rename(temporary, path)
  const folder = await open(dirname(path), 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}
