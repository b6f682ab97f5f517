import { KmsError } from '../../protocol/errors.ts'

/** One page of a list, and where the next begins; null on the last. */
export interface Page<T> {
  readonly items: readonly T[]
  readonly next: string | null
}

/** Which page of a list is wanted. */
export interface PageRequest {
  /** What the page before gave as `next`. */
  readonly after?: string | undefined
  readonly limit: number
}

/** Names a place in a list that is ordered by an instant, or a name, and an id. */
export function cursorOf(place: readonly [string, string]): string {
  return Buffer.from(JSON.stringify(place)).toString('base64url')
}

/** The place that a cursor names. @throws KmsError MALFORMED */
export function placeOf(cursor: string): readonly [string, string] {
  try {
    const place: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString())
    if (Array.isArray(place) && place.length === 2) {
      const [first, second]: readonly unknown[] = place
      if (typeof first === 'string' && typeof second === 'string') return [first, second]
    }
  } catch {
    // Whatever is no such place is refused below.
  }
  throw new KmsError('MALFORMED', 'after: wanted what the page before gave as next')
}

/** Cuts a page out of rows that were asked for with one more than fits. */
export function pageFrom<T>(
  rows: readonly T[],
  limit: number,
  place: (row: T) => readonly [string, string],
): Page<T> {
  const items = rows.slice(0, limit)
  const last = items.at(-1)
  const isLast = rows.length <= limit || last === undefined
  return { items, next: isLast ? null : cursorOf(place(last)) }
}
