import { readFile } from 'node:fs/promises'
import type { SimPlatform } from '@cloister/attestation'
import { type BoundTo, type RootKeeping, Secret } from '@cloister/kms/server'
import { simulatedSealing } from './kms-enclave.ts'
import { parsePkcs11Uri } from './pkcs11-uri.ts'
import { UsageError } from './usage-error.ts'

/** What `--root-key` takes, for a command's help. */
export const ROOT_KEY_HELP =
  'file, passphrase:FILE, pkcs11:token=LABEL?module-path=FILE&pin-source=FILE, sealed:measurement or sealed:signer'

/**
 * Reads how a root key is kept, as the command line says it.
 * @param platform - The simulated platform, where it is allowed
 * @throws UsageError
 */
export async function rootKeepingFrom(
  flag: string,
  text: string,
  platform: SimPlatform | undefined,
): Promise<RootKeeping> {
  if (text === 'file') return { kind: 'file' }
  const [, file] = /^passphrase:(.+)$/s.exec(text) ?? []
  if (file !== undefined) return { kind: 'passphrase', passphrase: await passphraseFrom(file) }
  if (text.startsWith('pkcs11:')) return tokenFrom(flag, text)
  if (text === 'sealed:measurement') return await sealedTo(flag, 'measurement', platform)
  if (text === 'sealed:signer') return await sealedTo(flag, 'signer', platform)
  throw refused(flag, `wanted ${ROOT_KEY_HELP}; saw ${text}`)
}

async function sealedTo(
  flag: string,
  boundTo: BoundTo,
  platform: SimPlatform | undefined,
): Promise<RootKeeping> {
  if (platform !== undefined) {
    return { kind: 'sealed', boundTo, source: await simulatedSealing(platform) }
  }
  throw new UsageError(
    `${flag}: this machine gives no sealing keys`,
    'only a simulated platform does so far, and protects nothing: --allow-simulated-platform',
  )
}

async function passphraseFrom(file: string): Promise<Secret> {
  const bytes = await readFile(file)
  const end = bytes.at(-1) === 0x0a ? bytes.length - 1 : bytes.length
  const secret = Secret.from(bytes.subarray(0, end))
  bytes.fill(0)
  return secret
}

function tokenFrom(flag: string, uri: string): RootKeeping {
  const { named, ...where } = parsePkcs11Uri(flag, uri, ['token'], NEXT_STEP)
  return { kind: 'pkcs11', tokenLabel: named.token, ...where }
}

const NEXT_STEP = 'see docs/root-key.md'

const refused = (flag: string, why: string) => new UsageError(`${flag}: ${why}`, NEXT_STEP)
