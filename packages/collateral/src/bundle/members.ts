import type { DocumentName } from '../documents/name.ts'

/**
 * Where `platform_collaterals.json` has what: the one table that reading and writing share.
 * @see docs/formats/collateral-bundle.md; Intel PCCS administration tool, `pccsadmin.py fetch`
 */
export const IDENTITY_MEMBERS = {
  qeidentity: { kind: 'identity', of: 'QE', edition: 'standard' },
  qeidentity_early: { kind: 'identity', of: 'QE', edition: 'early' },
  tdqeidentity: { kind: 'identity', of: 'TD_QE', edition: 'standard' },
  tdqeidentity_early: { kind: 'identity', of: 'TD_QE', edition: 'early' },
  qveidentity: { kind: 'identity', of: 'QVE', edition: 'standard' },
  qveidentity_early: { kind: 'identity', of: 'QVE', edition: 'early' },
} as const satisfies Readonly<Record<string, DocumentName>>

/** Members of an entry of `tcbinfos`. */
export const TCB_INFO_MEMBERS = {
  sgx_tcbinfo: { tee: 'sgx', edition: 'standard', api: 4 },
  sgx_tcbinfo_early: { tee: 'sgx', edition: 'early', api: 4 },
  tdx_tcbinfo: { tee: 'tdx', edition: 'standard', api: 4 },
  tdx_tcbinfo_early: { tee: 'tdx', edition: 'early', api: 4 },
  tcbinfo: { tee: 'sgx', edition: 'standard', api: 3 },
  tcbinfo_early: { tee: 'sgx', edition: 'early', api: 3 },
} as const

/** Members of `pckcacrl`. */
export const CRL_MEMBERS = { processorCrl: 'processor', platformCrl: 'platform' } as const

/** Members of `certificates`. */
export const CHAIN_MEMBERS = {
  pck: 'SGX-PCK-Certificate-Issuer-Chain',
  tcbInfo: { 3: 'SGX-TCB-Info-Issuer-Chain', 4: 'TCB-Info-Issuer-Chain' },
  identity: 'SGX-Enclave-Identity-Issuer-Chain',
} as const

/** The member in which we put what Intel's file has no place for. */
export const OWN_MEMBER = 'cloister'

/** Version of what is in it. */
export const OWN_VERSION = 1
