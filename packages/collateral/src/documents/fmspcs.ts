import { CollateralError } from '@cloister/attestation'
import { FMSPC_PLATFORMS, type FmspcPlatform } from './name.ts'

const MOST = 4096

/** A line of processors. */
export interface FmspcEntry {
  /** 12 upper-case hexadecimal digits. */
  readonly fmspc: string
  readonly platform: FmspcPlatform
}

/**
 * Reads a list of FMSPCs. Nobody signs it, so nothing but digits and known words comes through.
 * @throws CollateralError FORMAT, LIMIT
 * @see Intel PCS API v4, "Get FMSPCs"
 */
export function readFmspcs(body: Uint8Array): readonly FmspcEntry[] {
  let value: unknown
  try {
    value = JSON.parse(Buffer.from(body).toString('utf8'))
  } catch (cause) {
    throw new CollateralError('FORMAT', 'the list of FMSPCs is not JSON', { cause })
  }
  if (!Array.isArray(value)) throw new CollateralError('FORMAT', 'FMSPCs: wanted a list')
  if (value.length > MOST) throw new CollateralError('LIMIT', `FMSPCs: more than ${MOST}`)
  return value.map((one: unknown) => {
    const { fmspc, platform } = { fmspc: '', platform: '', ...(one as object) }
    const known = FMSPC_PLATFORMS.find(name => name === platform)
    if (typeof fmspc !== 'string' || !/^[0-9a-fA-F]{12}$/.test(fmspc) || known === undefined) {
      throw new CollateralError('FORMAT', 'FMSPCs: wanted 12 digits and a kind of platform each')
    }
    return { fmspc: fmspc.toUpperCase(), platform: known }
  })
}
