import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import {
  certificateKeyMatch,
  certificateNameMatch,
  isScope,
  type NewCredentialJson,
  SCOPES,
} from '@cloister/kms'
import type { Command } from 'commander'
import { collect } from '../collect.ts'
import { secondsFrom } from '../duration.ts'
import type { GlobalFlags } from '../session.ts'
import { UsageError } from '../usage-error.ts'

/** Flags that say what a credential may do, and what it goes with. */
export interface CredentialFlags extends GlobalFlags {
  readonly scope?: string
  readonly allScopes?: true
  readonly keyId?: readonly string[]
  readonly expires?: string
  readonly bind?: string
  readonly certificate?: string
  readonly ca?: string
  readonly san?: string
}

/** Adds the flags of a command that makes a credential. */
export function withCredentialOptions(command: Command): Command {
  return command
    .option('--scope <scopes>', `what it may do, comma-separated: ${SCOPES.join(', ')}`)
    .option('--all-scopes', 'it may do everything that the account may')
    .option('--key-id <id>', 'only with this key; may be given again', collect)
    .option('--expires <duration>', 'when it ends, from now: 90d, 12h, 30m (default: never)')
    .option('--bind <file>', 'a client certificate (PEM) without which it is worth nothing')
    .option('--certificate <file>', 'a client certificate (PEM) that is the credential itself')
    .option('--ca <file>', 'with --san: the CA (PEM) whose certificates of that name count')
    .option('--san <name>', 'dns:NAME, email:NAME or uri:NAME, in place of the certificate’s key')
}

/** What the flags ask for. @throws UsageError */
export async function credentialFrom(
  name: string,
  flags: CredentialFlags,
): Promise<NewCredentialJson> {
  const { allScopes, bind, certificate: alone, expires, keyId, scope } = flags
  if ((scope === undefined) === (allScopes === undefined)) {
    throw new UsageError(
      'a credential says what it may do: --scope or --all-scopes',
      `the scopes are ${SCOPES.join(', ')}`,
    )
  }
  if (bind !== undefined && alone !== undefined) {
    throw new UsageError('--bind and --certificate are two things', 'give one of the two')
  }
  const file = bind ?? alone
  const match = file === undefined ? undefined : await matchOf(file, flags)
  return {
    name,
    kind: alone === undefined ? 'bearer' : 'certificate',
    scopes: scope === undefined ? [...SCOPES] : scope.split(',').map(scopeFrom),
    ...(keyId === undefined ? {} : { keyIds: [...keyId] }),
    ...(expires === undefined ? {} : { expiresInSeconds: secondsFrom('--expires', expires) }),
    ...(match === undefined ? {} : { certificate: match }),
  }
}

/** How a key service is to know a certificate: by its key, or by a name of its CA's. */
export async function matchOf(
  file: string,
  { ca, san }: Pick<CredentialFlags, 'ca' | 'san'>,
): Promise<string> {
  if ((ca === undefined) !== (san === undefined)) {
    throw new UsageError('--ca and --san go together', 'give both, or neither')
  }
  if (ca === undefined || san === undefined) {
    return certificateKeyMatch(await certificateIn(file))
  }
  const [, type, name] = /^(dns|email|uri):([\x21-\x7e]{1,200})$/.exec(san) ?? []
  if ((type !== 'dns' && type !== 'email' && type !== 'uri') || name === undefined) {
    throw new UsageError(`--san: saw ${san}`, 'write dns:etl.example, email:… or uri:…')
  }
  return certificateNameMatch(await certificateIn(ca), type, name)
}

async function certificateIn(file: string): Promise<X509Certificate> {
  try {
    return new X509Certificate(await readFile(file))
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') throw cause
    throw new UsageError(`${file} is no certificate`, 'give a file of PEM', { cause })
  }
}

function scopeFrom(text: string): NewCredentialJson['scopes'][number] {
  if (isScope(text)) return text
  throw new UsageError(`--scope: there is no scope ${text}`, `the scopes are ${SCOPES.join(', ')}`)
}
