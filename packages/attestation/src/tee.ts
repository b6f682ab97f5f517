/** Kinds of trusted execution environment whose evidence this package verifies. */
export const TEES = ['sgx', 'tdx', 'sev-snp', 'sim'] as const

/**
 * Kind of trusted execution environment; derived from the root that verified and what was
 * quoted under it, never from a field that the evidence states about itself.
 */
export type Tee = (typeof TEES)[number]
