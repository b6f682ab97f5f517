import {
  certificatesInQuote,
  parseCertificate,
  parsePckExtension,
  parseQuote,
} from '@cloister/attestation'
import { UpstreamError } from './errors.ts'

/** The platform that collateral is for. */
export interface Platform {
  readonly tee: 'sgx' | 'tdx'
  /** 12 lower-case hexadecimal digits. */
  readonly fmspc: string
  /** Which CA issued its PCK certificate. */
  readonly ca: 'platform' | 'processor'
}

/**
 * The platform that a quote states, unverified: only good for finding collateral.
 * @throws QuoteFormatError, DerError; UpstreamError FORMAT when the quote holds no PCK certificate
 */
export function platformOfQuote(bytes: Uint8Array): Platform {
  const quote = parseQuote(bytes)
  const [der] = certificatesInQuote(quote)
  if (der === undefined) {
    throw new UpstreamError('FORMAT', 'the quote bears no PCK certificate')
  }
  const leaf = parseCertificate(der)
  const { fmspc } = parsePckExtension(leaf)
  const isProcessor = leaf.issuer.commonName?.includes('Processor CA') === true
  return {
    tee: quote.header.teeType,
    fmspc: Buffer.from(fmspc).toString('hex'),
    ca: isProcessor ? 'processor' : 'platform',
  }
}

/** One name a platform, for caches and messages. */
export function platformName({ tee, fmspc, ca }: Platform): string {
  return `${tee}-${fmspc}-${ca}`
}
