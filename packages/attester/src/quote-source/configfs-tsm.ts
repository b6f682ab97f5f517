import { randomUUID } from 'node:crypto'
import { QuoteSourceError } from '../errors.ts'
import type { Evidence } from '../evidence.ts'
import { type DeviceFiles, deviceError, errnoOf, machineFiles } from './device-files.ts'
import { assertBears, assertReportDataSize, type QuoteSource } from './quote-source.ts'
import { whenFree } from './when-free.ts'

const REPORTS = '/sys/kernel/config/tsm/report'

/** Names that the kernel has for the formats that are read here. */
const PROVIDERS = ['tdx_guest', 'sev_guest']

/** The kernel's own limit of a blob. @see include/linux/tsm.h, TSM_OUTBLOB_MAX */
const MAX_BLOB_BYTES = 32 * 1024
const MAX_TEXT_BYTES = 4096

/** Options of {@link configfsTsmSource}. */
export interface ConfigfsTsmOptions {
  /** The folder of reports; the kernel's, unless told. */
  readonly folder?: string
  /** How files are reached; the machine's, unless told. */
  readonly files?: DeviceFiles
}

/**
 * Linux's interface for TDX and SEV-SNP guests, from version 6.7 on. Each quote has an entry of its
 * own, which is removed again. The generation is read before and after: the kernel takes what is
 * written when the file is closed and can say no error then, so that only the generation says
 * whether it was taken, and by whom.
 * @see Linux, Documentation/ABI/testing/configfs-tsm-report
 */
export function configfsTsmSource(options: ConfigfsTsmOptions = {}): QuoteSource {
  const { folder = REPORTS, files = machineFiles } = options
  return {
    async quote(reportData) {
      assertReportDataSize(reportData)
      const entry = `${folder}/cloister-${randomUUID()}`
      try {
        await files.makeFolder(entry)
        try {
          return await report(entry, files, reportData)
        } finally {
          await files.removeFolder(entry)
        }
      } catch (cause) {
        throw deviceError('configfs-tsm', cause)
      }
    },
  }
}

async function report(
  entry: string,
  files: DeviceFiles,
  reportData: Uint8Array,
): Promise<Evidence> {
  const provider = await textOf(files, `${entry}/provider`)
  if (!PROVIDERS.includes(provider)) {
    throw new QuoteSourceError('UNAVAILABLE', `wanted ${PROVIDERS.join(' or ')}, saw ${provider}`)
  }
  const before = await generationOf(files, entry)
  await whenFree(() => files.write(`${entry}/inblob`, reportData))
  const evidence = await whenFree(() => files.read(`${entry}/outblob`, MAX_BLOB_BYTES))
  const certificates = provider === 'sev_guest' ? await auxiliary(files, entry) : undefined
  const after = await generationOf(files, entry)
  if (after !== before + 1n) {
    throw new QuoteSourceError(
      'CONFLICT',
      `${after - before} writes were counted where one is ours`,
    )
  }
  assertBears(evidence, reportData)
  return certificates === undefined ? { evidence } : { evidence, certificates }
}

/** What comes with a report: there for some providers, and empty where there is nothing. */
async function auxiliary(files: DeviceFiles, entry: string): Promise<Uint8Array | undefined> {
  try {
    const bytes = await whenFree(() => files.read(`${entry}/auxblob`, MAX_BLOB_BYTES))
    return bytes.length === 0 ? undefined : bytes
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw error
  }
}

async function generationOf(files: DeviceFiles, entry: string): Promise<bigint> {
  const text = await textOf(files, `${entry}/generation`)
  if (!/^\d{1,20}$/.test(text)) throw new QuoteSourceError('DEVICE', 'generation is no number')
  return BigInt(text)
}

async function textOf(files: DeviceFiles, path: string): Promise<string> {
  return Buffer.from(await files.read(path, MAX_TEXT_BYTES))
    .toString('latin1')
    .trim()
}
