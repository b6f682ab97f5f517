import { QuoteSourceError } from '../errors.ts'
import { type DeviceFiles, deviceError, machineFiles } from './device-files.ts'
import { assertBears, assertReportDataSize, type QuoteSource } from './quote-source.ts'

const FOLDER = '/dev/attestation'
const MAX_TEXT_BYTES = 64
const MAX_QUOTE_BYTES = 32 * 1024

/** Options of {@link gramineSource}. */
export interface GramineOptions {
  /** Gramine's folder, unless told. */
  readonly folder?: string
}

/**
 * Gramine's interface for SGX enclaves. All of a process shares it, so requests are made one after
 * another, and each quote is held against what was asked.
 * @see Gramine, Documentation/attestation.rst, "Low-level /dev/attestation interface"
 */
export function gramineSource({ folder = FOLDER }: GramineOptions = {}): QuoteSource {
  let last: Promise<unknown> = Promise.resolve()
  return {
    quote(reportData) {
      const mine = last.then(async () => {
        assertReportDataSize(reportData)
        return { evidence: await ask(folder, machineFiles, reportData) }
      })
      last = mine.catch(() => {})
      return mine
    },
  }
}

async function ask(
  folder: string,
  files: DeviceFiles,
  reportData: Uint8Array,
): Promise<Uint8Array> {
  try {
    const type = Buffer.from(await files.read(`${folder}/attestation_type`, MAX_TEXT_BYTES))
      .toString('latin1')
      .trim()
    if (type !== 'dcap') {
      throw new QuoteSourceError(
        'UNAVAILABLE',
        `wanted attestation type dcap, saw ${type}: set sgx.remote_attestation = "dcap"`,
      )
    }
    await files.write(`${folder}/user_report_data`, reportData)
    const quote = await files.read(`${folder}/quote`, MAX_QUOTE_BYTES)
    assertBears(quote, reportData)
    return quote
  } catch (cause) {
    throw deviceError(folder, cause)
  }
}
