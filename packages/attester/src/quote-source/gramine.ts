import { QuoteSourceError } from '../errors.ts'
import { type DeviceFiles, deviceError, errnoOf, machineFiles } from './device-files.ts'
import { assertBears, assertReportDataSize, type QuoteSource } from './quote-source.ts'

const FOLDER = '/dev/attestation'
const MAX_TEXT_BYTES = 64
const MAX_QUOTE_BYTES = 32 * 1024

/** Options of {@link gramineSource}. */
export interface GramineOptions {
  /** Gramine's folder, unless told. */
  readonly folder?: string
  /** How files are reached; the machine's, unless told. */
  readonly files?: DeviceFiles
}

/** The last request to each folder, whichever source made it. */
const last = new Map<string, Promise<unknown>>()

/**
 * Gramine's interface for SGX enclaves. All of a process shares it, and Gramine does not keep its
 * users apart, so requests are made one after another, and each quote is held against what was
 * asked.
 * @see Gramine, Documentation/attestation.rst, "Low-level /dev/attestation interface"
 * @see Gramine, libos/src/fs/dev/attestation.c
 */
export function gramineSource(options: GramineOptions = {}): QuoteSource {
  const { folder = FOLDER, files = machineFiles } = options
  return {
    quote(reportData) {
      const mine = (last.get(folder) ?? Promise.resolve()).then(async () => {
        assertReportDataSize(reportData)
        return { evidence: await ask(folder, files, reportData) }
      })
      const done = mine.catch(() => {})
      last.set(folder, done)
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
  } catch (cause) {
    throw deviceError(folder, cause)
  }
  try {
    await files.write(`${folder}/user_report_data`, reportData)
    const quote = await files.read(`${folder}/quote`, MAX_QUOTE_BYTES)
    assertBears(quote, reportData)
    return quote
  } catch (cause) {
    throw quotingError(folder, cause)
  }
}

/** Where there is attestation, Gramine has one error for whatever fails in it: EACCES. */
function quotingError(folder: string, cause: unknown): QuoteSourceError {
  return errnoOf(cause) === 'EACCES'
    ? new QuoteSourceError(
        'DEVICE',
        `${folder} failed (EACCES, as Gramine says of any failure): can the host quote (AESM, DCAP libraries, PCCS)?`,
        { cause },
      )
    : deviceError(folder, cause)
}
