import { StoreError } from './errors.ts'

/** A value that our tables hold, in every kind of database alike. */
export type SqlValue = string | number | null

/** Narrows a query parameter. @throws StoreError SQL */
export function asSqlValue(value: unknown): SqlValue {
  if (value === null || typeof value === 'string') return value
  if (typeof value === 'number' && Number.isSafeInteger(value)) return value
  throw new StoreError('SQL', `wanted a string, a whole number or null, seen ${typeof value}`)
}
