import { open, rm } from 'node:fs/promises'
import { UsageError } from './usage-error.ts'

/**
 * Has a secret made and writes it to a new file of mode 0600, which is there before the secret is: one
 * that is told once must not be lost for want of a place. @throws UsageError where a file is there
 */
export async function writeSecretOf(path: string, make: () => Promise<string>): Promise<void> {
  await writeSecretFile(path, '')
  const text = await make().catch(async (error: unknown) => {
    await rm(path, { force: true })
    throw error
  })
  const file = await open(path, 'r+')
  try {
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
}

/** Writes a secret to a new file of mode 0600. @throws UsageError where a file of that name is there */
export async function writeSecretFile(path: string, text: string): Promise<void> {
  const file = await open(path, 'wx', 0o600).catch((cause: unknown) => {
    const isThere = cause instanceof Error && 'code' in cause && cause.code === 'EEXIST'
    if (!isThere) throw cause
    throw new UsageError(`${path}: a secret is written to a new file`, 'give another path', {
      cause,
    })
  })
  try {
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
}
