import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { AuditError } from './errors.ts'
import { emptyRootHash, leafHash, verifyConsistency, verifyInclusion } from './merkle.ts'
import {
  consistencyPath,
  type Frontier,
  frontierRoot,
  grow,
  inclusionPath,
  type NodeName,
  rootOf,
} from './tree.ts'

const sha256 = (...parts: Uint8Array[]): Uint8Array =>
  new Uint8Array(createHash('sha256').update(Buffer.concat(parts)).digest())

/** MTH of RFC 9162, section 2.1.1, as it is written there. */
function naiveRoot(leaves: readonly Uint8Array[]): Uint8Array {
  const [first] = leaves
  if (first === undefined) return sha256()
  if (leaves.length === 1) return sha256(Uint8Array.of(0), first)
  const k = naiveSplit(leaves.length)
  return sha256(Uint8Array.of(1), naiveRoot(leaves.slice(0, k)), naiveRoot(leaves.slice(k)))
}

function naiveSplit(n: number): number {
  let k = 1
  while (k * 2 < n) k *= 2
  return k
}

/** PATH of RFC 9162, section 2.1.3.1. */
function naivePath(m: number, leaves: readonly Uint8Array[]): Uint8Array[] {
  if (leaves.length === 1) return []
  const k = naiveSplit(leaves.length)
  return m < k
    ? [...naivePath(m, leaves.slice(0, k)), naiveRoot(leaves.slice(k))]
    : [...naivePath(m - k, leaves.slice(k)), naiveRoot(leaves.slice(0, k))]
}

/** SUBPROOF of RFC 9162, section 2.1.4.1. */
function naiveSubproof(m: number, leaves: readonly Uint8Array[], isWhole: boolean): Uint8Array[] {
  if (m === leaves.length) return isWhole ? [] : [naiveRoot(leaves)]
  const k = naiveSplit(leaves.length)
  return m <= k
    ? [...naiveSubproof(m, leaves.slice(0, k), isWhole), naiveRoot(leaves.slice(k))]
    : [...naiveSubproof(m - k, leaves.slice(k), false), naiveRoot(leaves.slice(0, k))]
}

/** A tree that grew leaf by leaf, with its nodes in memory; counts what is read. */
function grown(leaves: readonly Uint8Array[]) {
  const nodes = new Map<NodeName, Uint8Array>()
  let frontier: Frontier = []
  for (const [size, leaf] of leaves.entries()) {
    const step = grow(size, frontier, leafHash(leaf))
    frontier = step.frontier
    for (const { hash, name } of step.nodes) {
      expect(nodes.has(name)).toBe(false)
      nodes.set(name, hash)
    }
  }
  const counter = { reads: 0 }
  const read = async (names: readonly NodeName[]) => {
    counter.reads += names.length
    return new Map(
      names.flatMap(name => {
        const hash = nodes.get(name)
        return hash === undefined ? [] : [[name, hash] as const]
      }),
    )
  }
  return { root: frontierRoot(frontier), read, counter }
}

const leavesOf = (size: number): Uint8Array[] =>
  Array.from({ length: size }, (_, index) => new TextEncoder().encode(`leaf ${index}`))

const hex = (hashes: readonly Uint8Array[]): string[] =>
  hashes.map(hash => Buffer.from(hash).toString('hex'))

describe('the tree', () => {
  it('agrees with the RFC’s own recursion at every size, index and earlier size up to 40', async () => {
    for (let size = 0; size <= 40; size++) {
      const leaves = leavesOf(size)
      const { read, root } = grown(leaves)
      expect(hex([root])).toEqual(hex([naiveRoot(leaves)]))
      for (let index = 0; index < size; index++) {
        const path = await inclusionPath(index, size, read)
        expect(hex(path)).toEqual(hex(naivePath(index, leaves)))
        verifyInclusion({
          index,
          size,
          path,
          leafHash: leafHash(leaves[index] ?? new Uint8Array()),
          rootHash: root,
        })
      }
      for (let first = 0; first <= size; first++) {
        const firstRootHash = naiveRoot(leaves.slice(0, first))
        expect(hex([await rootOf(first, read)])).toEqual(hex([firstRootHash]))
        const path = await consistencyPath(first, size, read)
        if (first > 0) expect(hex(path)).toEqual(hex(naiveSubproof(first, leaves, true)))
        verifyConsistency({
          firstSize: first,
          firstRootHash,
          secondSize: size,
          secondRootHash: root,
          path,
        })
      }
    }
  })

  it('agrees on leaves of any bytes, also proven at an earlier size', async () => {
    const leaves = fc.array(fc.uint8Array({ maxLength: 8 }), { minLength: 1, maxLength: 70 })
    await fc.assert(
      fc.asyncProperty(leaves, fc.nat(), fc.nat(), async (data, a, b) => {
        const size = 1 + (a % data.length)
        const index = b % size
        const { read } = grown(data)
        const path = await inclusionPath(index, size, read)
        expect(hex(path)).toEqual(hex(naivePath(index, data.slice(0, size))))
      }),
    )
  })

  it('reads few nodes', async () => {
    const size = 4999
    const { counter, read, root } = grown(leavesOf(size))
    for (const index of [0, 1, 2500, 4095, 4096, 4998]) {
      counter.reads = 0
      const path = await inclusionPath(index, size, read)
      // Each side path is whole but the right edge, which has one subtree for each bit of the size.
      expect(counter.reads).toBeLessThanOrEqual(2 * Math.ceil(Math.log2(size)))
      const leaf = leafHash(new TextEncoder().encode(`leaf ${index}`))
      verifyInclusion({ index, size, path, leafHash: leaf, rootHash: root })
    }
  })

  it('of nothing has the hash of nothing', () => {
    const empty = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'
    expect(hex([emptyRootHash()])).toEqual([empty])
  })
})

const PROOF = { code: 'PROOF' }

function flip(bytes: Uint8Array, bit: number): Uint8Array {
  const copy = Uint8Array.from(bytes)
  const index = (bit >> 3) % copy.length
  copy[index] = (copy[index] ?? 0) ^ (1 << (bit & 7))
  return copy
}

describe('a false proof', () => {
  const sizes = fc.integer({ min: 2, max: 40 })

  it('of inclusion is refused: another index, size, leaf, root or path', async () => {
    await fc.assert(
      fc.asyncProperty(sizes, fc.nat(), fc.nat(), fc.nat(), async (size, a, b, bit) => {
        const leaves = leavesOf(size)
        const { read, root } = grown(leaves)
        const index = a % size
        const leaf = leafHash(leaves[index] ?? new Uint8Array())
        const path = await inclusionPath(index, size, read)
        const good = { index, size, path, leafHash: leaf, rootHash: root }
        verifyInclusion(good)
        const at = b % path.length
        const otherIndex = (index + 1 + (b % (size - 1))) % size
        const bad = [
          { ...good, index: otherIndex },
          { ...good, index: size + index },
          { ...good, leafHash: flip(leaf, bit) },
          { ...good, rootHash: flip(root, bit) },
          { ...good, path: path.map((hash, n) => (n === at ? flip(hash, bit) : hash)) },
          { ...good, path: path.toSpliced(at, 1) },
          { ...good, path: [...path, leaf] },
        ]
        for (const proof of bad) {
          expect(() => verifyInclusion(proof)).toThrow(expect.objectContaining(PROOF))
        }
      }),
    )
  })

  it('of consistency is refused: another size, root or path', async () => {
    await fc.assert(
      fc.asyncProperty(sizes, fc.nat(), fc.nat(), fc.nat(), async (second, a, b, bit) => {
        const leaves = leavesOf(second)
        const { read, root } = grown(leaves)
        const first = 1 + (a % (second - 1))
        const firstRoot = naiveRoot(leaves.slice(0, first))
        const path = await consistencyPath(first, second, read)
        const good = {
          firstSize: first,
          firstRootHash: firstRoot,
          secondSize: second,
          secondRootHash: root,
          path,
        }
        verifyConsistency(good)
        const at = b % path.length
        const bad = [
          { ...good, firstRootHash: flip(firstRoot, bit) },
          { ...good, secondRootHash: flip(root, bit) },
          { ...good, path: path.map((hash, n) => (n === at ? flip(hash, bit) : hash)) },
          { ...good, path: path.toSpliced(at, 1) },
          { ...good, path: [...path, root] },
          { ...good, firstSize: second + first },
        ]
        for (const proof of bad) {
          expect(() => verifyConsistency(proof)).toThrow(expect.objectContaining(PROOF))
        }
      }),
    )
  })

  it('of any shape gives a coded error', () => {
    const hash = fc.uint8Array({ maxLength: 33 })
    const shape = fc.record({
      index: fc.double(),
      size: fc.double(),
      path: fc.array(hash),
      leafHash: hash,
      rootHash: hash,
    })
    fc.assert(
      fc.property(shape, proof => {
        expect(() => verifyInclusion(proof)).toThrow(AuditError)
      }),
    )
  })
})
