import { createHash } from 'node:crypto'

function sha256(...parts: readonly Uint8Array[]): Uint8Array {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return new Uint8Array(hash.digest())
}

const LEAF = Uint8Array.of(0)
const NODE = Uint8Array.of(1)

/**
 * Root of the SHA-256 Merkle tree over `leaves`, in their order. Leaves and nodes are hashed in
 * domains of their own, so that neither can be taken for the other.
 * @see RFC 6962, section 2.1
 */
export function merkleRoot(leaves: readonly Uint8Array[]): Uint8Array {
  if (leaves.length === 0) return sha256()
  let level = leaves.map(leaf => sha256(LEAF, leaf))
  // Pairing neighbours and carrying an odd last one up gives the RFC's tree, whose left side is the
  // largest power of two.
  while (level.length > 1) {
    const next: Uint8Array[] = []
    for (let index = 0; index < level.length; index += 2) {
      const [left, right] = [level[index], level[index + 1]]
      if (left !== undefined) next.push(right === undefined ? left : sha256(NODE, left, right))
    }
    level = next
  }
  return level[0] ?? sha256()
}
