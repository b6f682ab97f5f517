import { createHash, type KeyObject } from 'node:crypto'
import type { SimConditions } from './conditions.ts'

/** The private keys of a simulated platform. */
export const SIM_KEYS = ['root', 'platformCa', 'tcbSigning', 'pck', 'attestation'] as const

/** The certificates of a simulated platform, each over the key of the same name. */
export const SIM_CERTIFICATES = ['root', 'platformCa', 'tcbSigning', 'pck'] as const

/** All that a simulated platform is made of. */
export interface SimState {
  readonly conditions: SimConditions
  /** Private, P-256. */
  readonly keys: Readonly<Record<(typeof SIM_KEYS)[number], KeyObject>>
  /** DER. */
  readonly certificates: Readonly<Record<(typeof SIM_CERTIFICATES)[number], Uint8Array>>
}

/** Whole seconds, which is all that certificates and collateral can say. */
export function wholeSeconds(at: Date): Date {
  return new Date(Math.floor(at.getTime() / 1000) * 1000)
}

const sha256 = (text: string): Uint8Array =>
  new Uint8Array(createHash('sha256').update(text).digest())

/** The simulated quoting enclave, as its identity describes it. */
export const SIM_QE = {
  mrEnclave: sha256('cloister simulated quoting enclave'),
  mrSigner: sha256('cloister simulated quoting enclave signer'),
  wrongMrSigner: sha256('cloister wrong quoting enclave signer'),
  isvProdId: 1,
  isvSvn: 5,
} as const

/** What every simulated platform's PCK certificate says of its TCB. */
export const SIM_TCB = {
  components: Array.from({ length: 16 }, () => 5),
  pceSvn: 13,
} as const
