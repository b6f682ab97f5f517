/** Kinds of trusted execution environment whose evidence this package verifies. */
export const TEES = ['sgx', 'sim'] as const

/** Kind of trusted execution environment; derived from the root that verified, never from a field. */
export type Tee = (typeof TEES)[number]
