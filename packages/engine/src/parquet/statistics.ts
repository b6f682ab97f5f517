import { fieldOf, type ThriftStruct } from './thrift.ts'

/**
 * Values that can be compared: whole numbers (and days, and microseconds) as `bigint`, floating
 * point as `number`, texts by their UTF-8 bytes.
 */
export type Comparable = bigint | number | Uint8Array

/** Types of plain columns whose least and greatest values are read. */
export type LeafKind =
  | 'int32'
  | 'int64'
  | 'date'
  | 'timestamp-ms'
  | 'timestamp-us'
  | 'float'
  | 'double'
  | 'string'

/** Every value of a chunk that is not NULL (and not NaN) lies between them. */
export interface Bounds {
  readonly least: Comparable
  readonly greatest: Comparable
}

/** Parquet's numbers of physical types. */
const PHYSICAL: Readonly<Record<number, 'int32' | 'int64' | 'float' | 'double' | 'bytes'>> = {
  1: 'int32',
  2: 'int64',
  4: 'float',
  5: 'double',
  6: 'bytes',
}

/** Parquet's converted types that change nothing about an order, by physical type. */
const CONVERTED: Readonly<Record<string, LeafKind>> = {
  'bytes 0': 'string',
  'int32 6': 'date',
  'int64 9': 'timestamp-ms',
  'int64 10': 'timestamp-us',
  'int32 17': 'int32',
  'int64 18': 'int64',
}

/** What a schema's leaf holds, or `undefined` for types that this reader does not compare. */
export function leafKindOf(element: ThriftStruct): LeafKind | undefined {
  const type = fieldOf(element, 1)
  const repetition = fieldOf(element, 3)
  if (type?.type !== 'i32' || (repetition?.type === 'i32' && repetition.value === 2)) {
    return undefined
  }
  const physical = PHYSICAL[type.value]
  if (physical === undefined) return undefined
  const logical = fieldOf(element, 10)
  if (logical !== undefined) {
    return logical.type === 'struct' ? fromLogicalType(physical, logical) : undefined
  }
  const converted = fieldOf(element, 6)
  if (converted === undefined) return physical === 'bytes' ? undefined : physical
  return converted.type === 'i32' ? CONVERTED[`${physical} ${converted.value}`] : undefined
}

/** The union LogicalType: 1 STRING, 6 DATE, 8 TIMESTAMP (not of UTC), 10 INTEGER (signed). */
function fromLogicalType(physical: string, logical: ThriftStruct): LeafKind | undefined {
  const [member] = logical.fields
  if (member?.value.type !== 'struct') return undefined
  const { id, value } = member
  if (id === 1 && physical === 'bytes') return 'string'
  if (id === 6 && physical === 'int32') return 'date'
  if (id === 8 && physical === 'int64') {
    const utc = fieldOf(value, 1)
    const unit = fieldOf(value, 2)
    if (utc?.type !== 'bool' || utc.value || unit?.type !== 'struct') return undefined
    if (unit.fields[0]?.id === 1) return 'timestamp-ms'
    return unit.fields[0]?.id === 2 ? 'timestamp-us' : undefined
  }
  if (id === 10) {
    const width = fieldOf(value, 1)
    const signed = fieldOf(value, 2)
    if (width?.type !== 'i8' || signed?.type !== 'bool' || !signed.value) return undefined
    if (physical === 'int32' && width.value === 32) return 'int32'
    if (physical === 'int64' && width.value === 64) return 'int64'
  }
  return undefined
}

/** Reads `min_value` and `max_value`; the older `min` and `max` had no defined order. */
export function boundsOf(statistics: ThriftStruct, kind: LeafKind): Bounds | undefined {
  const greatest = fieldOf(statistics, 5)
  const least = fieldOf(statistics, 6)
  if (greatest?.type !== 'binary' || least?.type !== 'binary') return undefined
  const low = decodeBound(least.value, kind)
  const high = decodeBound(greatest.value, kind)
  return low === undefined || high === undefined ? undefined : { least: low, greatest: high }
}

function decodeBound(bytes: Uint8Array, kind: LeafKind): Comparable | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  switch (kind) {
    case 'int32':
    case 'date':
      return bytes.length === 4 ? BigInt(view.getInt32(0, true)) : undefined
    case 'int64':
    case 'timestamp-us':
      return bytes.length === 8 ? view.getBigInt64(0, true) : undefined
    case 'timestamp-ms':
      return bytes.length === 8 ? view.getBigInt64(0, true) * 1000n : undefined
    case 'float':
      return bytes.length === 4 ? finite(view.getFloat32(0, true)) : undefined
    case 'double':
      return bytes.length === 8 ? finite(view.getFloat64(0, true)) : undefined
    case 'string':
      return bytes
  }
}

function finite(value: number): number | undefined {
  return Number.isFinite(value) ? value : undefined
}
