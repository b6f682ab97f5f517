import { createRequire } from 'node:module'

/** Collateral as `@phala/dcap-qvl` has it: bytes as lists of numbers. */
export interface TheirCollateral {
  readonly pck_crl_issuer_chain: string
  readonly root_ca_crl: number[]
  readonly pck_crl: number[]
  readonly tcb_info_issuer_chain: string
  readonly tcb_info: string
  readonly tcb_info_signature: number[]
  readonly qe_identity_issuer_chain: string
  readonly qe_identity: string
  readonly qe_identity_signature: number[]
}

interface Fetching {
  getCollateralForFmspc(
    pccsUrl: string,
    fmspc: string,
    ca: string,
    isSgx: boolean,
  ): Promise<TheirCollateral>
}

/**
 * What its `getCollateral` does once it has read a quote. That itself is of no use here: in 0.3.9 it
 * takes every certificate for one of the Processor CA, and asks for that CA's list.
 */
export const { getCollateralForFmspc }: Fetching = createRequire(import.meta.url)(
  '@phala/dcap-qvl/src/collateral.js',
)
