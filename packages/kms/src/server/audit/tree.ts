import { emptyRootHash, nodeHash } from './merkle.ts'

/** Name of the complete subtree over the `2^level` leaves from `index * 2^level`. */
export type NodeName = `${number}/${number}`

/** A complete subtree's hash. */
export interface TreeNode {
  readonly name: NodeName
  readonly hash: Uint8Array
}

/** Looks up complete subtrees' hashes, all at once. */
export type ReadNodes = (names: readonly NodeName[]) => Promise<ReadonlyMap<NodeName, Uint8Array>>

/** Roots of the complete subtrees that make up a tree, from the left: one for each bit of its size. */
export type Frontier = readonly Uint8Array[]

/** Root of the tree that a frontier makes up. */
export function frontierRoot(frontier: Frontier): Uint8Array {
  if (frontier.length === 0) return emptyRootHash()
  return frontier.reduceRight((right, left) => nodeHash(left, right))
}

/** Adds a leaf to a tree of `size` leaves: its new frontier, and the subtrees that became complete. */
export function grow(
  size: number,
  frontier: Frontier,
  leaf: Uint8Array,
): { readonly frontier: Frontier; readonly nodes: readonly TreeNode[] } {
  const left = [...frontier]
  const nodes: TreeNode[] = [{ name: `0/${size}`, hash: leaf }]
  let hash = leaf
  let index = size
  for (let level = 1; index % 2 === 1; level++) {
    const sibling = left.pop()
    if (sibling === undefined) throw new RangeError('the frontier does not fit the size')
    hash = nodeHash(sibling, hash)
    index = (index - 1) / 2
    nodes.push({ name: `${level}/${index}`, hash })
  }
  return { frontier: [...left, hash], nodes }
}

/** Leaves from `start` up to, not including, `end`. */
interface Range {
  readonly start: number
  readonly end: number
}

/** Largest power of two below `size`, which is at least 2. */
function splitPoint(size: number): number {
  const power = 2 ** Math.floor(Math.log2(size))
  return power === size ? power / 2 : power
}

/** The complete subtrees that a range of a tree, which starts where it may, is made up of. */
function completeSubtrees({ start, end }: Range): NodeName[] {
  const names: NodeName[] = []
  let from = start
  while (from < end) {
    let level = Math.floor(Math.log2(end - from))
    while (from % 2 ** level !== 0) level--
    names.push(`${level}/${from / 2 ** level}`)
    from += 2 ** level
  }
  return names
}

/** The subtrees whose hashes prove the leaf at `index`. @see RFC 9162, section 2.1.3.1 */
function inclusionRanges(index: number, size: number): Range[] {
  const ranges: Range[] = []
  let [start, end] = [0, size]
  while (end - start > 1) {
    const middle = start + splitPoint(end - start)
    if (index < middle) {
      ranges.push({ start: middle, end })
      end = middle
    } else {
      ranges.push({ start, end: middle })
      start = middle
    }
  }
  return ranges.reverse()
}

/** The subtrees whose hashes prove consistency. @see RFC 9162, section 2.1.4.1 */
function consistencyRanges(first: number, second: number): Range[] {
  if (first === 0 || first === second) return []
  const ranges: Range[] = []
  let [start, end] = [0, second]
  let isWhole = true
  while (first !== end) {
    const middle = start + splitPoint(end - start)
    if (first <= middle) {
      ranges.push({ start: middle, end })
      end = middle
    } else {
      ranges.push({ start, end: middle })
      start = middle
      isWhole = false
    }
  }
  // The verifier knows the first tree's own root.
  if (!isWhole) ranges.push({ start, end })
  return ranges.reverse()
}

async function hashRanges(ranges: readonly Range[], read: ReadNodes): Promise<Uint8Array[]> {
  const wanted = ranges.map(completeSubtrees)
  const found = await read(wanted.flat())
  return wanted.map(names => frontierRoot(names.map(name => nodeOf(found, name))))
}

/** Reads the path that proves the leaf at `index` of the tree of `size` leaves. */
export async function inclusionPath(
  index: number,
  size: number,
  read: ReadNodes,
): Promise<Uint8Array[]> {
  return await hashRanges(inclusionRanges(index, size), read)
}

/** Reads the path that proves the tree of `first` leaves the beginning of the one of `second`. */
export async function consistencyPath(
  first: number,
  second: number,
  read: ReadNodes,
): Promise<Uint8Array[]> {
  return await hashRanges(consistencyRanges(first, second), read)
}

/** Reads the frontier of the tree of the first `size` leaves. */
export async function frontierAt(size: number, read: ReadNodes): Promise<Uint8Array[]> {
  const names = completeSubtrees({ start: 0, end: size })
  const found = await read(names)
  return names.map(name => nodeOf(found, name))
}

/** Reads the root of the tree of the first `size` leaves. */
export async function rootOf(size: number, read: ReadNodes): Promise<Uint8Array> {
  return frontierRoot(await frontierAt(size, read))
}

function nodeOf(found: ReadonlyMap<NodeName, Uint8Array>, name: NodeName): Uint8Array {
  const hash = found.get(name)
  if (hash === undefined) throw new RangeError(`node ${name} is missing`)
  return hash
}
