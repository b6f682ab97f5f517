import { isStructList, type ParquetFooter } from './footer.ts'
import {
  fieldOf,
  type ThriftField,
  type ThriftStruct,
  type ThriftValue,
  withFields,
} from './thrift.ts'
import { encodeThrift } from './thrift-encode.ts'

/**
 * Added to the offsets of chunks that were not opened. No file reaches so far, so touching such a
 * chunk is a failed read in every reader and never zeros.
 */
export const NOWHERE = 2n ** 60n

/** What a rewritten footer says. */
export interface FooterChanges {
  /** New names of the top columns, in their order. */
  readonly names: readonly string[]
  /** Whether a chunk's bytes are there. */
  isOpened(rowGroup: number, leaf: number): boolean
}

/**
 * Makes a footer, with its length and magic, that gives readers the opened chunks alone. Every row
 * group stays, with its statistics, since readers count rows and plan from them; the chunks that
 * were not opened lie at {@link NOWHERE}. Indexes and bloom filters are not mentioned any more.
 */
export function rewriteFooter(footer: ParquetFooter, changes: FooterChanges): Uint8Array {
  const tree = withFields(
    footer.tree,
    new Map<number, ThriftValue | undefined>([
      [2, renamedSchema(footer, changes.names)],
      [4, rewrittenGroups(footer.tree, changes)],
      // Other tools' own notes; some of them name columns.
      [5, undefined],
    ]),
  )
  const bytes = encodeThrift(tree)
  const out = new Uint8Array(bytes.length + 8)
  out.set(bytes)
  new DataView(out.buffer).setUint32(bytes.length, bytes.length, true)
  out.set([0x50, 0x41, 0x52, 0x31], bytes.length + 4)
  return out
}

function renamedSchema(
  { tree, columns }: ParquetFooter,
  names: readonly string[],
): ThriftValue | undefined {
  const byElement = new Map(columns.map(({ element }, i) => [element, names[i]]))
  return mapStructs(fieldOf(tree, 2), (element, i) => {
    const name = byElement.get(i)
    if (name === undefined) return element
    return withFields(element, new Map([[4, { type: 'binary', value: Buffer.from(name) }]]))
  })
}

function rewrittenGroups(tree: ThriftStruct, changes: FooterChanges): ThriftValue | undefined {
  return mapStructs(fieldOf(tree, 4), (group, rowGroup) =>
    withFields(
      group,
      new Map<number, ThriftValue | undefined>([
        [
          1,
          mapStructs(fieldOf(group, 1), (chunk, leaf) =>
            rewrittenChunk(chunk, changes.isOpened(rowGroup, leaf)),
          ),
        ],
        // The sorting order's and the file offset's readers need no help of ours.
        [4, undefined],
        [5, undefined],
      ]),
    ),
  )
}

function rewrittenChunk(chunk: ThriftStruct, opened: boolean): ThriftStruct {
  const metadata = fieldOf(chunk, 3)
  const fields: ThriftField[] = [{ id: 2, value: { type: 'i64', value: 0n } }]
  if (metadata?.type === 'struct')
    fields.push({ id: 3, value: rewrittenMetadata(metadata, opened) })
  return { type: 'struct', fields }
}

function rewrittenMetadata(metadata: ThriftStruct, opened: boolean): ThriftStruct {
  const changes = new Map<number, ThriftValue | undefined>([
    [10, undefined],
    [14, undefined],
    [15, undefined],
  ])
  if (!opened) {
    for (const id of [9, 11]) {
      const offset = fieldOf(metadata, id)
      if (offset?.type !== 'i64') continue
      changes.set(id, { type: 'i64', value: NOWHERE + offset.value })
    }
  }
  return withFields(metadata, changes)
}

function mapStructs(
  list: ThriftValue | undefined,
  change: (struct: ThriftStruct, index: number) => ThriftStruct,
): ThriftValue | undefined {
  return isStructList(list) ? { ...list, values: list.values.map(change) } : list
}
