import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { INTEL_ROOT, type TrustRoot } from '@cloister/attestation'
import { type Upstream, upstreamOf, withApiKey } from '@cloister/collateral'
import type { Command } from 'commander'
import { spkiOf } from '../attest/trust-root.ts'
import type { GlobalFlags, Session } from '../session.ts'
import { simulatedPlatform } from '../simulated-platform.ts'
import { UsageError } from '../usage-error.ts'

/** Flags that say what collateral has to lead up to. */
export interface RootFlags extends GlobalFlags {
  readonly trustRoot?: string
  readonly allowSimulatedPlatform?: true
}

/** Flags that say where collateral comes from. */
export interface UpstreamFlags extends GlobalFlags {
  readonly from: readonly string[]
  readonly apiKeyFile?: string
  readonly upstreamCa?: string
}

/** Collects the values of a flag that may be given several times. */
export function several(value: string, earlier: readonly string[]): readonly string[] {
  return [...earlier, value]
}

/** Adds the flags of {@link RootFlags}. */
export function withRootOptions(command: Command): Command {
  return command
    .option(
      '--trust-root <file>',
      "believe what leads up to this certificate's key, not to Intel's",
    )
    .option('--allow-simulated-platform', "believe collateral of this home's simulated TEE too")
}

/** Adds the flags of {@link UpstreamFlags}. */
export function withUpstreamOptions(command: Command): Command {
  return command
    .option(
      '--from <service>',
      'intel, alibaba:REGION, the URL of a PCCS, or pcs:URL,ROOT-CRL-URL; several are asked in order',
      several,
      [],
    )
    .option('--api-key-file <file>', 'key of Intel’s service, for PCK certificates; mode 0600')
    .option('--upstream-ca <file>', 'PEM that the services’ TLS certificates have to lead up to')
}

/** What collateral has to lead up to. */
export async function rootsFrom(flags: RootFlags, session: Session): Promise<readonly TrustRoot[]> {
  const spki = await spkiOf(flags.trustRoot)
  const simulated =
    flags.allowSimulatedPlatform === true ? [(await simulatedPlatform(session.home)).trustRoot] : []
  return [spki === undefined ? INTEL_ROOT : { ...INTEL_ROOT, spki }, ...simulated]
}

/** The services to ask; Intel's where none is named. @throws UsageError */
export async function upstreamsFrom(flags: UpstreamFlags): Promise<readonly Upstream[]> {
  const ca = flags.upstreamCa === undefined ? {} : { ca: await readFile(flags.upstreamCa, 'utf8') }
  const key = flags.apiKeyFile === undefined ? undefined : await readSecret(flags.apiKeyFile)
  const names = flags.from.length === 0 ? ['intel'] : flags.from
  return names.map(name => {
    try {
      const upstream = { ...upstreamOf(name), ...ca }
      return key === undefined || upstream.kind === 'pccs' ? upstream : withApiKey(upstream, key)
    } catch (cause) {
      const next =
        'give intel, alibaba:REGION, a URL such as https://pccs.example:8081, or pcs:URL,ROOT-CRL-URL'
      throw new UsageError(`--from ${JSON.stringify(name)} is no service`, next, { cause })
    }
  })
}

/** A secret from a file that none but its owner may read. @throws UsageError, TokenFileError */
export async function readSecret(file: string): Promise<string> {
  const { readOwn } = await import('@cloister/collateral/server')
  const secret = await readOwn(file)
  if (secret === undefined || secret === '') {
    throw new UsageError(`${file} holds no secret`, 'write it there, and chmod 600')
  }
  return secret
}

/** Where a service keeps its data, unless told. */
export function dataFolder(session: Session, data: string | undefined): string {
  return data ?? join(session.home.folder, 'pccs')
}

/** A whole number from a flag. @throws UsageError */
export function wholeNumber(flag: string, text: string, least: number, most: number): number {
  const number = Number(text)
  if (!Number.isInteger(number) || number < least || number > most) {
    throw new UsageError(`${flag}: wanted ${least} to ${most}, saw ${text}`, 'give another number')
  }
  return number
}
