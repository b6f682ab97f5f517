/** A value of Thrift's compact protocol, with all that its bytes say and no schema. */
export type ThriftValue =
  | { readonly type: 'bool'; readonly value: boolean }
  | { readonly type: 'i8' | 'i16' | 'i32'; readonly value: number }
  | { readonly type: 'i64'; readonly value: bigint }
  /** Eight bytes, little-endian: every NaN stays the one it was. */
  | { readonly type: 'double'; readonly value: Uint8Array }
  | { readonly type: 'binary'; readonly value: Uint8Array }
  /** Sixteen bytes. */
  | { readonly type: 'uuid'; readonly value: Uint8Array }
  | ThriftList
  | ThriftMap
  | ThriftStruct

/** The name of a type. */
export type ThriftType = ThriftValue['type']

/** Values of one type. */
export interface ThriftList {
  readonly type: 'list' | 'set'
  readonly element: ThriftType
  readonly values: readonly ThriftValue[]
}

/** Keys of one type with values of one type; an empty map does not say which. */
export interface ThriftMap {
  readonly type: 'map'
  readonly types: readonly [key: ThriftType, value: ThriftType] | undefined
  readonly entries: readonly (readonly [ThriftValue, ThriftValue])[]
}

/** Fields in the order of their bytes. */
export interface ThriftStruct {
  readonly type: 'struct'
  readonly fields: readonly ThriftField[]
}

/** A field of a struct. */
export interface ThriftField {
  readonly id: number
  readonly value: ThriftValue
}

/** Deepest nesting that is read or written; Parquet's own metadata nests nine deep. */
export const MAX_THRIFT_DEPTH = 32

/** The compact protocol's numbers of types. A field that is a `bool` says its value by 1 or 2. */
export const TYPE_NUMBERS: Readonly<Record<ThriftType, number>> = {
  bool: 2,
  i8: 3,
  i16: 4,
  i32: 5,
  i64: 6,
  double: 7,
  binary: 8,
  list: 9,
  set: 10,
  map: 11,
  struct: 12,
  uuid: 13,
}

/** The value of a struct's field, if it is there. */
export function fieldOf(struct: ThriftStruct, id: number): ThriftValue | undefined {
  return struct.fields.find(field => field.id === id)?.value
}

/** The struct with some fields replaced, added in order of their ids, or (`undefined`) dropped. */
export function withFields(
  struct: ThriftStruct,
  changes: ReadonlyMap<number, ThriftValue | undefined>,
): ThriftStruct {
  const kept = struct.fields.filter(({ id }) => !changes.has(id))
  const added = [...changes].flatMap(([id, value]) => (value === undefined ? [] : [{ id, value }]))
  return { type: 'struct', fields: [...kept, ...added].sort((a, b) => a.id - b.id) }
}
