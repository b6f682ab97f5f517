import { readFile } from 'node:fs/promises'
import type { SimPlatform } from '@cloister/attestation'
import { type BoundTo, type RootKeeping, Secret } from '@cloister/kms/server'
import { simulatedSealing } from './kms-enclave.ts'
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

/**
 * Reads a PKCS#11 URI: of its attributes, those that name a token.
 * @see RFC 7512, section 2.3
 */
function tokenFrom(flag: string, uri: string): RootKeeping {
  const [path = '', query = ''] = uri.slice('pkcs11:'.length).split('?', 2)
  const named = attributesOf(flag, path, ';')
  const how = attributesOf(flag, query, '&')
  // The URI is an argument, which every process of the machine can read.
  if (how.has('pin-value')) throw refused(flag, 'a PIN is no argument: wanted pin-source=FILE')
  const [tokenLabel, modulePath] = [named.get('token'), how.get('module-path')]
  const pinFile = how.get('pin-source')?.replace(/^file:/, '')
  const isWhole = named.size === 1 && how.size === 2
  if (!isWhole || !tokenLabel || !modulePath || !pinFile) {
    throw refused(flag, 'wanted token, and after the ?, module-path and pin-source, and no more')
  }
  return { kind: 'pkcs11', tokenLabel, modulePath, pinFile }
}

function attributesOf(flag: string, text: string, separator: string): ReadonlyMap<string, string> {
  const attributes = new Map<string, string>()
  for (const attribute of text.split(separator)) {
    const [name = '', value] = attribute.split('=', 2)
    if (value === undefined || attributes.has(name)) {
      throw refused(flag, `wanted name=value, each name once; saw "${name}"`)
    }
    try {
      attributes.set(name, decodeURIComponent(value))
    } catch (cause) {
      throw refused(flag, `the value of ${name} is not percent-encoded`, cause)
    }
  }
  return attributes
}

const refused = (flag: string, why: string, cause?: unknown) =>
  new UsageError(`${flag}: ${why}`, 'see docs/root-key.md', { cause })
