import { hkdfSync } from 'node:crypto'
import type { Dek } from '@cloister/sealed'

const LABEL = 'cloister run v1'

/** What a connection between two instances is for: a port, or the driver's key broker. */
export type Purpose = number | 'keys'

/** Who connects to whom, for what. */
export interface Call {
  readonly from: string
  readonly to: string
  readonly purpose: Purpose
}

/** How long the other end may take to show that it has the key. */
export const HANDSHAKE_MS = 10_000

/** TLS 1.3 by a key that both ends have, with fresh Diffie-Hellman keys, and in no other way. */
export const TLS_OPTIONS = {
  minVersion: 'TLSv1.3',
  maxVersion: 'TLSv1.3',
  // The only hash that OpenSSL has for keys of this kind is this suite's.
  ciphers: 'TLS_AES_128_GCM_SHA256',
} as const

/** What the calling side names its key by. */
export function identityOf({ from, to, purpose }: Call): string {
  return `${LABEL} ${from} ${to} ${purpose}`
}

/** Reads what a caller names its key by; undefined where it is no such name. */
export function callOf(identity: string): Call | undefined {
  const match = /^cloister run v1 (\S{1,32}) (\S{1,32}) (keys|\d{1,5})$/.exec(identity)
  const [, from, to, purpose] = match ?? []
  if (from === undefined || to === undefined || purpose === undefined) return undefined
  return { from, to, purpose: purpose === 'keys' ? purpose : Number(purpose) }
}

/**
 * The key of one kind of connection, 32 bytes: HKDF-SHA-256 of the run's secret. Caller, called and
 * purpose are in it, so a host that connects anybody to anybody else connects nobody.
 */
export function keyOf(secret: Dek, call: Call): Buffer {
  const bytes = secret.exposeBytes()
  try {
    return Buffer.from(hkdfSync('sha256', bytes, '', identityOf(call), 32))
  } finally {
    bytes.fill(0)
  }
}
