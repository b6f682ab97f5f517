import { type Stats, statSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import {
  configfsTsmSource,
  gramineSource,
  occlumSource,
  type QuoteSource,
  simQuoteSource,
} from '@cloister/attester'
import { Home } from '../home.ts'
import { UsageError } from '../usage-error.ts'

/** What a machine shows that has a source of evidence. */
interface Shown {
  readonly path: string
  readonly isIt: (seen: Stats) => boolean
}

/** Where evidence can come from. Hosts have a folder where Occlum has its device. */
const SOURCES = {
  'configfs-tsm': { path: '/sys/kernel/config/tsm/report', isIt: seen => seen.isDirectory() },
  gramine: { path: '/dev/attestation/quote', isIt: () => true },
  occlum: { path: '/dev/sgx', isIt: seen => seen.isCharacterDevice() },
  simulated: undefined,
} as const satisfies Readonly<Record<string, Shown | undefined>>

/** Name of a source of evidence. */
export type SourceName = keyof typeof SOURCES

/** Names of the sources of evidence. */
export const SOURCE_NAMES = Object.keys(SOURCES) as readonly SourceName[]

/** Flags of `cloister attest quote`. */
export interface QuoteFlags {
  readonly home?: string
  readonly out: string
  readonly reportData: string
  readonly source?: string
}

/** What was written. */
export interface WrittenQuote {
  readonly source: SourceName
  readonly file: string
  readonly bytes: number
  /** The certificate table that came with a SEV-SNP report. */
  readonly certificates?: string
}

/** Has the platform quote report data, and writes the evidence. @throws QuoteSourceError, UsageError */
export async function writeQuote(flags: QuoteFlags): Promise<WrittenQuote> {
  const source = flags.source === undefined ? found() : named(flags.source)
  const reportData = reportDataOf(flags.reportData)
  const { evidence, certificates } = await (await quoteSourceOf(source, flags.home)).quote(
    reportData,
  )
  await writeFile(flags.out, evidence)
  const written = { source, file: flags.out, bytes: evidence.length }
  if (certificates === undefined) return written
  const beside = `${flags.out}.certificates`
  await writeFile(beside, certificates)
  return { ...written, certificates: beside }
}

/** The source of evidence that this machine shows; undefined where it shows none. */
export function quoteSourceHere(): SourceName | undefined {
  return SOURCE_NAMES.find(name => {
    const shown: Shown | undefined = SOURCES[name]
    const seen = shown && statSync(shown.path, { throwIfNoEntry: false })
    return seen !== undefined && shown?.isIt(seen) === true
  })
}

function found(): SourceName {
  const here = quoteSourceHere()
  if (here !== undefined) return here
  const paths = Object.values(SOURCES).flatMap(shown => shown?.path ?? [])
  throw new UsageError(
    `this machine shows no source of evidence: neither ${paths.join(' nor ')} is there`,
    'run it in a TDX or SEV-SNP guest, under Gramine or under Occlum, or give --source simulated',
  )
}

function named(name: string): SourceName {
  const source = SOURCE_NAMES.find(one => one === name)
  if (source !== undefined) return source
  throw new UsageError(
    `--source ${JSON.stringify(name)} is none`,
    `give ${SOURCE_NAMES.join(', ')}`,
  )
}

/**
 * Opens a source of evidence.
 * @param home - The home folder where one is told; a simulated platform is kept there
 */
export async function quoteSourceOf(
  name: SourceName,
  home: string | undefined,
): Promise<QuoteSource> {
  switch (name) {
    case 'configfs-tsm':
      return configfsTsmSource()
    case 'gramine':
      return gramineSource()
    case 'occlum':
      return occlumSource()
    case 'simulated': {
      const { simulatedPlatform } = await import('../simulated-platform.ts')
      const zero = new Uint8Array(32)
      return simQuoteSource(await simulatedPlatform(new Home(home)), {
        ...{ mrEnclave: zero, mrSigner: zero, isvProdId: 0, isvSvn: 0, debug: false },
      })
    }
  }
}

/** Up to 64 bytes in hexadecimal; zeros follow what is given. */
function reportDataOf(text: string): Uint8Array {
  if (!/^([0-9a-fA-F]{2}){0,64}$/.test(text)) {
    throw new UsageError(
      '--report-data: wanted up to 64 bytes in hexadecimal',
      'give the digest of what the evidence is to be about, such as a SHA-256',
    )
  }
  const bytes = new Uint8Array(64)
  bytes.set(Buffer.from(text, 'hex'))
  return bytes
}
