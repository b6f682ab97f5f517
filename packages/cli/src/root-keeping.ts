import { readFile } from 'node:fs/promises'
import { type RootKeeping, Secret } from '@cloister/kms/server'
import { UsageError } from './usage-error.ts'

/** What `--root-key` takes, for a command's help. */
export const ROOT_KEY_HELP = 'file, or passphrase:FILE'

/**
 * Reads how a root key is kept, as the command line says it.
 * @throws UsageError
 */
export async function rootKeepingFrom(flag: string, text: string): Promise<RootKeeping> {
  if (text === 'file') return { kind: 'file' }
  const [, file] = /^passphrase:(.+)$/s.exec(text) ?? []
  if (file !== undefined) return { kind: 'passphrase', passphrase: await passphraseFrom(file) }
  throw new UsageError(`${flag}: wanted ${ROOT_KEY_HELP}; saw ${text}`, 'see docs/root-key.md')
}

async function passphraseFrom(file: string): Promise<Secret> {
  const bytes = await readFile(file)
  const end = bytes.at(-1) === 0x0a ? bytes.length - 1 : bytes.length
  const secret = Secret.from(bytes.subarray(0, end))
  bytes.fill(0)
  return secret
}
