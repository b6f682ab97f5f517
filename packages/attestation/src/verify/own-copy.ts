/**
 * A copy of a claim that shares no date, no bytes and no list with what it was made from. Claims are
 * the caller's, who may put a date off or wipe bytes; verified collateral serves the next verification.
 */
export function ownCopy<Claim>(claim: Claim): Claim {
  return copyOf(claim) as Claim
}

function copyOf(claim: unknown): unknown {
  if (typeof claim !== 'object' || claim === null) return claim
  if (claim instanceof Date) return new Date(claim)
  if (claim instanceof Uint8Array) return claim.slice()
  if (Array.isArray(claim)) return claim.map(copyOf)
  return Object.fromEntries(Object.entries(claim).map(([name, value]) => [name, copyOf(value)]))
}
