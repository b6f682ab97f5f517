import { ParquetFooterError } from './errors.ts'
import { type LeafKind, leafKindOf } from './statistics.ts'
import { fieldOf, type ThriftStruct } from './thrift.ts'

/** Deepest nesting of a column. */
const MAX_DEPTH = 64

/** A column of the table; a nested one has several leaves, which are stored apart. */
export interface TopColumn {
  readonly name: string
  /** Its element in the footer's schema list. */
  readonly element: number
  /** Its leaves, as a half-open range. */
  readonly leaves: { readonly start: number; readonly end: number }
  /** What its values are, for a plain column whose values can be compared. */
  readonly kind: LeafKind | undefined
}

/** Reads a footer's schema list: the root, then every element before its children. */
export function parseLeaves(elements: readonly ThriftStruct[]): {
  readonly columns: readonly TopColumn[]
  /** What can be known of each leaf's values. */
  readonly leaves: readonly (LeafKind | undefined)[]
} {
  const leaves: (LeafKind | undefined)[] = []
  let next = 0
  const take = (): ThriftStruct => {
    const element = elements[next]
    if (element === undefined) throw malformed('wanted more elements')
    next += 1
    return element
  }
  const visit = (depth: number): ThriftStruct => {
    if (depth > MAX_DEPTH) throw malformed(`nested deeper than ${MAX_DEPTH}`)
    const element = take()
    const children = childrenOf(element)
    if (children === undefined) leaves.push(depth === 1 ? leafKindOf(element) : undefined)
    else for (let i = 0; i < children; i += 1) visit(depth + 1)
    return element
  }
  const columns: TopColumn[] = []
  const count = childrenOf(take()) ?? 0
  if (count > elements.length) throw malformed(`${count} columns in ${elements.length} elements`)
  for (let i = 0; i < count; i += 1) {
    const at = next
    const start = leaves.length
    const element = visit(1)
    const plain = childrenOf(element) === undefined
    const range = { start, end: leaves.length }
    const kind = plain ? leaves[start] : undefined
    columns.push({ name: nameOf(element), element: at, leaves: range, kind })
  }
  if (next !== elements.length) throw malformed(`${elements.length - next} elements too many`)
  return { columns, leaves }
}

function childrenOf(element: ThriftStruct): number | undefined {
  const type = fieldOf(element, 1)
  const children = fieldOf(element, 5)
  if (type !== undefined) return undefined
  if (children === undefined) return 0
  if (children.type !== 'i32' || children.value < 0) throw malformed('number of children')
  return children.value
}

function nameOf(element: ThriftStruct): string {
  const name = fieldOf(element, 4)
  if (name?.type !== 'binary') throw malformed('an element without a name')
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(name.value)
  } catch (cause) {
    throw new ParquetFooterError('METADATA', 'schema: a name is not UTF-8', { cause })
  }
}

function malformed(message: string): ParquetFooterError {
  return new ParquetFooterError('METADATA', `schema: ${message}`)
}
