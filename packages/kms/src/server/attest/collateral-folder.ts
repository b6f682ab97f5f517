import { type BigIntStats, constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import {
  type Collateral,
  certificatesInQuote,
  parseCertificate,
  parsePckExtension,
  parseQuote,
  parseSnpReport,
  type QuoteHeader,
  readCollateralJson,
  type SnpCollateral,
} from '@cloister/attestation'
import { parseCollateral, parseSnpCollateral } from '../../protocol/collateral.ts'
import { toHex } from '../../protocol/encoding.ts'
import { KmsError } from '../../protocol/errors.ts'

const MAX_FILE_BYTES = 4 << 20

interface Cached {
  readonly stamp: string
  readonly collateral: Collateral | SnpCollateral
}

/** What a quote says of its platform, unverified: only good for finding collateral. */
export interface ClaimedPlatform {
  /** 12 lower-case hexadecimal digits. */
  readonly fmspc: string
  readonly teeType: QuoteHeader['teeType']
}

/**
 * Collateral from a folder: `<fmspc in lower-case hex>.json` for enclaves, `<fmspc>.tdx.json` for
 * trust domains, `<chip id>-<reported TCB>.snp.json` for SEV-SNP; read again when the file changed.
 * What is in it need not be trusted, as it is signed; who can write there can only deny service.
 */
export class CollateralFolder {
  readonly #folder: string
  readonly #cache = new Map<string, Cached>()

  constructor(folder: string) {
    this.#folder = folder
  }

  /**
   * Collateral for the platform that a quote says it is of.
   * @throws KmsError COLLATERAL_UNAVAILABLE
   */
  async forPlatform({ fmspc, teeType }: ClaimedPlatform): Promise<Collateral> {
    const name = `${fmspc}${teeType === 'tdx' ? '.tdx' : ''}.json`
    return await this.#read(name, collateralFrom)
  }

  /**
   * Collateral for the chip, and its TCB, that a SEV-SNP report says it is of.
   * @throws KmsError COLLATERAL_UNAVAILABLE; QuoteFormatError
   */
  async forReport(report: Uint8Array): Promise<SnpCollateral> {
    const { chipId, reportedTcb } = parseSnpReport(report)
    return await this.#read(`${toHex(chipId)}-${toHex(reportedTcb)}.snp.json`, parseSnpCollateral)
  }

  async #read<T extends Collateral | SnpCollateral>(
    name: string,
    parse: (value: unknown) => T,
  ): Promise<T> {
    const path = join(this.#folder, name)
    try {
      const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
      try {
        const stats = await file.stat({ bigint: true })
        const stamp = stampOf(stats)
        const cached = this.#cache.get(path)
        // One name is always read in one way.
        if (cached?.stamp === stamp) return cached.collateral as T
        if (!stats.isFile() || stats.size > MAX_FILE_BYTES) {
          throw new KmsError('COLLATERAL_UNAVAILABLE', `${path} is no file of at most 4 MiB`)
        }
        const collateral = parse(JSON.parse(await file.readFile('utf8')))
        this.#cache.set(path, { stamp, collateral })
        return collateral
      } finally {
        await file.close()
      }
    } catch (cause) {
      const message = `no collateral for the platform: wanted the file ${name}`
      throw new KmsError('COLLATERAL_UNAVAILABLE', message, { cause })
    }
  }
}

/** As the key service writes it, or as quote verifiers exchange it. */
function collateralFrom(value: unknown): Collateral {
  const isExchanged = typeof value === 'object' && value !== null && 'tcb_info' in value
  return isExchanged ? readCollateralJson(value) : parseCollateral(value)
}

function stampOf({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): string {
  return [dev, ino, size, mtimeNs, ctimeNs].join()
}

/** The platform that a quote's PCK certificate states. @throws KmsError EVIDENCE_INVALID */
export function claimedPlatform(bytes: Uint8Array): ClaimedPlatform {
  const quote = parseQuote(bytes)
  const [leaf] = certificatesInQuote(quote)
  if (leaf === undefined) {
    throw new KmsError('EVIDENCE_INVALID', 'the quote bears no PCK certificate chain')
  }
  const fmspc = toHex(parsePckExtension(parseCertificate(leaf)).fmspc)
  return { fmspc, teeType: quote.header.teeType }
}
