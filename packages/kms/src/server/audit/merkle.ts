import { createHash } from 'node:crypto'
import { AuditError } from './errors.ts'

// RFC 9162, section 2.1: leaves and inner nodes are hashed under different first bytes.
const LEAF_PREFIX = Uint8Array.of(0)
const NODE_PREFIX = Uint8Array.of(1)

/** Length of every hash in the tree, in bytes. */
export const HASH_LENGTH = 32

/** Largest tree: sizes are exact as numbers, and halving them never ends in a fraction. */
export const MAX_TREE_SIZE = 2 ** 48

/** Hash of a leaf. @see RFC 9162, section 2.1.1 */
export function leafHash(data: Uint8Array): Uint8Array {
  return new Uint8Array(createHash('sha256').update(LEAF_PREFIX).update(data).digest())
}

/** Hash of an inner node. @see RFC 9162, section 2.1.1 */
export function nodeHash(left: Uint8Array, right: Uint8Array): Uint8Array {
  const hash = createHash('sha256').update(NODE_PREFIX).update(left).update(right)
  return new Uint8Array(hash.digest())
}

/** Root of the tree without leaves. */
export function emptyRootHash(): Uint8Array {
  return new Uint8Array(createHash('sha256').digest())
}

/** Says that the leaf with this hash is the one at `index` of the tree of `size` leaves. */
export interface InclusionProof {
  readonly index: number
  readonly size: number
  /** Sibling hashes, from the leaf up. */
  readonly path: readonly Uint8Array[]
}

const bad = (what: string): AuditError => new AuditError('PROOF', what)

const isOdd = (value: number): boolean => value % 2 === 1
const half = (value: number): number => Math.floor(value / 2)

function assertSize(what: string, size: number): void {
  if (!Number.isSafeInteger(size) || size < 0 || size > MAX_TREE_SIZE) {
    throw bad(`${what}: wanted a whole number up to 2^48, seen ${size}`)
  }
}

function assertHashes(hashes: readonly Uint8Array[]): void {
  for (const hash of hashes) {
    if (hash.length !== HASH_LENGTH) {
      throw bad(`a hash is ${HASH_LENGTH} bytes, not ${hash.length}`)
    }
  }
}

function assertSame(what: string, seen: Uint8Array, wanted: Uint8Array): void {
  if (Buffer.compare(seen, wanted) !== 0) throw bad(`${what}: the hashes do not lead to this root`)
}

/**
 * Checks that a leaf is in the tree with this root.
 * @throws AuditError PROOF
 * @see RFC 9162, section 2.1.3.2
 */
export function verifyInclusion(
  proof: InclusionProof & { readonly leafHash: Uint8Array; readonly rootHash: Uint8Array },
): void {
  const { index, path, rootHash, size } = proof
  assertSize('size', size)
  assertSize('index', index)
  assertHashes([proof.leafHash, rootHash, ...path])
  if (index >= size) throw bad(`index ${index} is not below size ${size}`)
  let fn = index
  let sn = size - 1
  let hash = proof.leafHash
  for (const sibling of path) {
    if (sn === 0) throw bad('the path is too long')
    if (isOdd(fn) || fn === sn) {
      hash = nodeHash(sibling, hash)
      while (!isOdd(fn) && fn !== 0) {
        fn = half(fn)
        sn = half(sn)
      }
    } else {
      hash = nodeHash(hash, sibling)
    }
    fn = half(fn)
    sn = half(sn)
  }
  if (sn !== 0) throw bad('the path is too short')
  assertSame('inclusion', hash, rootHash)
}

/** Says that the tree of `firstSize` leaves is the beginning of the one of `secondSize`. */
export interface ConsistencyProof {
  readonly firstSize: number
  readonly firstRootHash: Uint8Array
  readonly secondSize: number
  readonly secondRootHash: Uint8Array
  readonly path: readonly Uint8Array[]
}

/**
 * Checks that nothing of the first tree was changed or taken away in the second.
 * @throws AuditError PROOF
 * @see RFC 9162, section 2.1.4.2
 */
export function verifyConsistency(proof: ConsistencyProof): void {
  const { firstRootHash, firstSize, path, secondRootHash, secondSize } = proof
  assertSize('firstSize', firstSize)
  assertSize('secondSize', secondSize)
  assertHashes([firstRootHash, secondRootHash, ...path])
  if (firstSize > secondSize) throw bad(`the log shrank from ${firstSize} to ${secondSize}`)
  if (firstSize === 0 || firstSize === secondSize) {
    if (path.length !== 0) throw bad('the path is too long')
    const wanted = firstSize === 0 ? emptyRootHash() : secondRootHash
    assertSame('consistency', firstRootHash, wanted)
    return
  }
  // A complete first tree is its own first node.
  const isComplete = Number.isInteger(Math.log2(firstSize))
  const [start, ...rest] = isComplete ? [firstRootHash, ...path] : path
  if (start === undefined) throw bad('the path is too short')
  let fn = firstSize - 1
  let sn = secondSize - 1
  while (isOdd(fn)) {
    fn = half(fn)
    sn = half(sn)
  }
  let first = start
  let second = start
  for (const sibling of rest) {
    if (sn === 0) throw bad('the path is too long')
    if (isOdd(fn) || fn === sn) {
      first = nodeHash(sibling, first)
      second = nodeHash(sibling, second)
      while (!isOdd(fn) && fn !== 0) {
        fn = half(fn)
        sn = half(sn)
      }
    } else {
      second = nodeHash(second, sibling)
    }
    fn = half(fn)
    sn = half(sn)
  }
  if (sn !== 0) throw bad('the path is too short')
  assertSame('consistency, first tree', first, firstRootHash)
  assertSame('consistency, second tree', second, secondRootHash)
}
