import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { dirname } from 'node:path'
import { SigstructError } from './errors.ts'

const MAX_PRIVATE_FILE = 65_536

/**
 * Reads a file that its owner alone may read. The caller zeroes the bytes.
 * @param what - What it is, for messages.
 * @throws SigstructError with `KEY_FILE`.
 */
export async function readPrivateFile(path: string, what: string): Promise<Buffer> {
  const flags = constants.O_RDONLY | constants.O_NOCTTY | constants.O_NONBLOCK
  const file = await open(path, flags).catch((cause: unknown) => {
    throw new SigstructError('KEY_FILE', `cannot read the ${what} ${path}`, { cause })
  })
  try {
    const stat = await file.stat()
    if (!stat.isFile() || stat.size > MAX_PRIVATE_FILE) {
      throw new SigstructError('KEY_FILE', `${path} is no file of a ${what}`)
    }
    if ((stat.mode & 0o077) !== 0) {
      const mode = (stat.mode & 0o777).toString(8)
      throw new SigstructError('KEY_FILE', `${path} has mode ${mode}; run: chmod 600 ${path}`)
    }
    return await file.readFile()
  } finally {
    await file.close()
  }
}

/** Reads a passphrase or PIN: a file's bytes without the line's end. The caller zeroes them. */
export async function readSecretLine(path: string, what: string): Promise<Uint8Array> {
  const bytes = await readPrivateFile(path, what)
  const line = Uint8Array.from(bytes.at(-1) === 0x0a ? bytes.subarray(0, -1) : bytes)
  bytes.fill(0)
  if (line.length === 0) throw new SigstructError('KEY_FILE', `${path} holds an empty ${what}`)
  return line
}

/**
 * Writes a new file of mode 0600, which is on disk on return.
 * @throws SigstructError with `KEY_FILE` when something is there already.
 */
export async function createPrivateFile(path: string, content: string): Promise<void> {
  try {
    const file = await open(path, 'wx', 0o600)
    try {
      await file.chmod(0o600)
      await file.writeFile(content)
      await file.sync()
    } finally {
      await file.close()
    }
    const folder = await open(dirname(path), 'r')
    await folder.sync().finally(() => folder.close())
  } catch (cause) {
    throw new SigstructError('KEY_FILE', `cannot write a new signing key to ${path}`, { cause })
  }
}
