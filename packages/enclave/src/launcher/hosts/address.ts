import { isIP, isIPv4 } from 'node:net'
import { type Static, Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'

/** Schema of where a launcher listens for those of other hosts, without brackets around IPv6. */
export const HostAddressSchema = Type.Object(
  {
    host: Type.String({ pattern: '^[A-Za-z0-9._:-]{1,253}$' }),
    port: Type.Integer({ minimum: 1, maximum: 0xffff }),
  },
  { additionalProperties: false },
)

/** Where a launcher listens for those of other hosts. */
export type HostAddress = Static<typeof HostAddressSchema>

/**
 * Reads `HOST:PORT`, IPv6 in brackets; undefined for anything else.
 * @param options - `anyPort` takes port 0, which whoever listens has the system choose.
 */
export function parseHostAddress(
  text: string,
  { anyPort = false }: { readonly anyPort?: boolean } = {},
): HostAddress | undefined {
  const [, bracketed, plain, digits = ''] =
    /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+)):(\d{1,5})$/.exec(text) ?? []
  if (bracketed !== undefined && isIP(bracketed) !== 6) return undefined
  const address = { host: bracketed ?? plain ?? '', port: Number(digits) }
  const isAny = anyPort && digits === '0' && address.host !== ''
  return isAny || Value.Check(HostAddressSchema, address) ? address : undefined
}

/** An address as people write it. */
export function encodeHostAddress({ host, port }: HostAddress): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`
}

/** Whether nobody but this machine reaches what listens there. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIPv4(host) && host.startsWith('127.'))
}

/** An address of the system's as others write it: IPv4 in IPv6's clothes is IPv4. */
export function plainAddress(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i, '')
}
