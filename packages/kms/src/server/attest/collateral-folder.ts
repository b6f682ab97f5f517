import { type BigIntStats, constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import {
  type Collateral,
  certificatesInQuote,
  parseCertificate,
  parsePckExtension,
  parseQuote,
  type QuoteHeader,
  readCollateralJson,
} from '@cloister/attestation'
import { parseCollateral } from '../../protocol/collateral.ts'
import { toHex } from '../../protocol/encoding.ts'
import { KmsError } from '../../protocol/errors.ts'

const MAX_FILE_BYTES = 4 << 20

interface Cached {
  readonly stamp: string
  readonly collateral: Collateral
}

/** What a quote says of its platform, unverified: only good for finding collateral. */
export interface ClaimedPlatform {
  /** 12 lower-case hexadecimal digits. */
  readonly fmspc: string
  readonly teeType: QuoteHeader['teeType']
}

/**
 * Collateral from a folder: `<fmspc in lower-case hex>.json` for enclaves, `<fmspc>.tdx.json` for
 * trust domains; read again when the file changed.
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
    const path = join(this.#folder, `${fmspc}${teeType === 'tdx' ? '.tdx' : ''}.json`)
    try {
      const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
      try {
        const stats = await file.stat({ bigint: true })
        const stamp = stampOf(stats)
        const cached = this.#cache.get(path)
        if (cached?.stamp === stamp) return cached.collateral
        if (!stats.isFile() || stats.size > MAX_FILE_BYTES) {
          throw new KmsError('COLLATERAL_UNAVAILABLE', `${path} is no file of at most 4 MiB`)
        }
        const collateral = collateralFrom(JSON.parse(await file.readFile('utf8')))
        this.#cache.set(path, { stamp, collateral })
        return collateral
      } finally {
        await file.close()
      }
    } catch (cause) {
      throw new KmsError(
        'COLLATERAL_UNAVAILABLE',
        `no collateral for ${teeType} on platform ${fmspc}`,
        {
          cause,
        },
      )
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
