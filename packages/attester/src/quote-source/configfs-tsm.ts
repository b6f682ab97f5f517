import { randomUUID } from 'node:crypto'
import { QuoteSourceError } from '../errors.ts'
import type { Evidence } from '../evidence.ts'
import { type DeviceFiles, deviceError, errnoOf, machineFiles } from './device-files.ts'
import { assertBears, assertReportDataSize, type QuoteSource } from './quote-source.ts'
import { whenFree } from './when-free.ts'

const REPORTS = '/sys/kernel/config/tsm/report'

/** Names that the kernel has for the formats that are read here. */
const PROVIDERS = ['tdx_guest', 'sev_guest']

/** More than any quote or report of these formats needs; the kernel's own limit is no lower. */
const MAX_BLOB_BYTES = 32 * 1024
const MAX_TEXT_BYTES = 4096

/** Options of {@link configfsTsmSource}. */
export interface ConfigfsTsmOptions {
  /** The folder of reports; the kernel's, unless told. */
  readonly folder?: string
  /**
   * SEV-SNP: the VMPL to report at, up to 3; the guest's own, unless told, which is the lowest
   * that it can ask for.
   */
  readonly privilegeLevel?: number
  /** How files are reached; the machine's, unless told. */
  readonly files?: DeviceFiles
}

/**
 * Linux's interface for TDX and SEV-SNP guests, from version 6.7 on. Each quote has an entry of its
 * own, which is removed again. The generation is read before and after: the kernel takes the report
 * data when its file is closed and can say no error then, so that only the generation says whether
 * it was taken, and by whom. Services of an SVSM are not asked for (`service_provider`): what they
 * report is bound to their manifest and not to the report data alone.
 * @see Linux, Documentation/ABI/testing/configfs-tsm-report; configfs-tsm in earlier versions
 * @see Linux, drivers/virt/coco/guest/report.c; drivers/virt/coco/tsm.c in earlier versions
 */
export function configfsTsmSource(options: ConfigfsTsmOptions = {}): QuoteSource {
  const { folder = REPORTS, files = machineFiles, privilegeLevel } = options
  return {
    async quote(reportData) {
      assertReportDataSize(reportData)
      const entry = `${folder}/cloister-${randomUUID()}`
      try {
        await files.makeFolder(entry)
        const evidence = await report(entry, files, reportData, privilegeLevel).catch(
          async (cause: unknown) => {
            // What went wrong first is what is told.
            await files.removeFolder(entry).catch(() => {})
            throw cause
          },
        )
        await files.removeFolder(entry)
        return evidence
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
  privilegeLevel: number | undefined,
): Promise<Evidence> {
  const provider = await textOf(files, `${entry}/provider`)
  if (!PROVIDERS.includes(provider)) {
    throw new QuoteSourceError('UNAVAILABLE', `wanted ${PROVIDERS.join(' or ')}, saw ${provider}`)
  }
  const before = await numberIn(files, `${entry}/generation`)
  const level = provider === 'sev_guest' ? await levelOf(entry, files, privilegeLevel) : undefined
  if (level !== undefined) {
    await whenFree(() => files.write(`${entry}/privlevel`, Buffer.from(String(level))))
  }
  await whenFree(() => files.write(`${entry}/inblob`, reportData))
  const evidence = await whenFree(() => files.read(`${entry}/outblob`, MAX_BLOB_BYTES))
  const certificates = provider === 'sev_guest' ? await auxiliary(files, entry) : undefined
  const writes = (await numberIn(files, `${entry}/generation`)) - before
  const ours = level === undefined ? 1n : 2n
  if (writes !== ours) {
    throw new QuoteSourceError('CONFLICT', `${writes} writes were counted where ${ours} are ours`)
  }
  assertBears(evidence, reportData)
  return certificates === undefined ? { evidence } : { evidence, certificates }
}

/**
 * The level to write. The kernel asks for level 0 where none was written, which the firmware refuses
 * to a guest that runs at a higher one, as under a paravisor or an SVSM.
 */
async function levelOf(
  entry: string,
  files: DeviceFiles,
  wanted: number | undefined,
): Promise<number | undefined> {
  if (wanted !== undefined) return wanted
  const floor = await numberIn(files, `${entry}/privlevel_floor`)
  return floor === 0n ? undefined : Number(floor)
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

async function numberIn(files: DeviceFiles, path: string): Promise<bigint> {
  const text = await textOf(files, path)
  if (!/^\d{1,20}$/.test(text)) throw new QuoteSourceError('DEVICE', `${path} holds no number`)
  return BigInt(text)
}

async function textOf(files: DeviceFiles, path: string): Promise<string> {
  return Buffer.from(await files.read(path, MAX_TEXT_BYTES))
    .toString('latin1')
    .trim()
}
