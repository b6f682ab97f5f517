import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PccsAdmin } from '@cloister/collateral'
import type { Command } from 'commander'
import type { GlobalFlags, Session } from '../session.ts'
import { UsageError } from '../usage-error.ts'
import { dataFolder, readSecret } from './options.ts'
import { ownCertificateIn } from './tls-files.ts'

/** Flags that say which service, and what it is shown. */
export interface AdminFlags extends GlobalFlags {
  readonly url: string
  readonly tokenFile?: string
  readonly ca?: string
}

/** Adds the flags of {@link AdminFlags}. */
export function withAdminOptions(command: Command): Command {
  return command
    .option('--url <url>', 'the service', 'https://localhost:8081')
    .option('--token-file <file>', 'its token, mode 0600 (default: of the home’s own service)')
    .option(
      '--ca <file>',
      'PEM that its certificate leads up to (default: of the home’s own service)',
    )
}

/** A client of the service, with the administrators' token or the platforms'. */
export async function adminFrom(
  session: Session,
  flags: AdminFlags,
  token: 'admin-token' | 'user-token' = 'admin-token',
): Promise<PccsAdmin> {
  const own = dataFolder(session, undefined)
  const ca = await readCa(flags.ca, ownCertificateIn(own))
  return new PccsAdmin({
    url: flags.url,
    token: await tokenFrom(flags.tokenFile, join(own, token)),
    ...(ca === undefined ? {} : { ca }),
  })
}

async function tokenFrom(given: string | undefined, own: string): Promise<string> {
  if (given !== undefined) return await readSecret(given)
  try {
    return await readSecret(own)
  } catch (cause) {
    if (!(cause instanceof UsageError)) throw cause
    throw new UsageError(
      'this home has no collateral service of its own',
      'give --url, --token-file and --ca of the one you mean, or run one: cloister pccs serve',
      { cause },
    )
  }
}

async function readCa(given: string | undefined, own: string): Promise<string | undefined> {
  if (given !== undefined) return await readFile(given, 'utf8')
  try {
    return await readFile(own, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
}
