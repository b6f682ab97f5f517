import { randomUUID } from 'node:crypto'
import type { Kysely } from 'kysely'
import { StoreError } from './errors.ts'
import { type RowKeys, sameMac } from './row-keys.ts'
import type { Changes } from './row-set.ts'
import type { Schema } from './schema.ts'

/** How many transactions the feed goes back at least; who is further behind reads all rows anew. */
export const FEED_LENGTH = 10_000

/** How far the feed goes back, and what of it is read. */
export interface FeedRange {
  readonly after: number
  readonly to: number
  readonly length: number
}

/** Entries that are read at once. */
const PAGE = 500

/** What one transaction changed, as it stands in the feed. */
export interface FeedEntry {
  /** Tells this transaction from any other that might have come to the same epoch. */
  readonly id: string
  readonly changes: Changes
}

type EncodedRow = readonly [key: string] | readonly [key: string, version: number, mac: string]

/** What a transaction is about to change. */
export function newEntry(changes: Changes): FeedEntry {
  return { id: randomUUID(), changes }
}

/** An entry as it is stored; the MAC keeps it in its place. */
export function entryRow(
  keys: RowKeys,
  epoch: number,
  { changes, id }: FeedEntry,
): Schema['store_changes'] {
  const rows = [...changes].map(
    ([key, known]): EncodedRow => (known === null ? [key] : [key, known.version, known.mac]),
  )
  const text = JSON.stringify({ id, rows })
  const mac = Buffer.from(keys.changesMac(epoch, text)).toString('base64url')
  return { epoch, changes: text, mac }
}

/**
 * Reads the entries after an epoch up to another, in order; undefined where the feed does not go back
 * that far.
 * @throws StoreError ROW_MAC for an entry that was edited, moved or taken out
 */
export async function readEntries(
  db: Kysely<Schema>,
  keys: RowKeys,
  { after, length, to }: FeedRange,
): Promise<readonly FeedEntry[] | undefined> {
  if (to - after > length) return undefined
  const entries: FeedEntry[] = []
  for (let from = after; from < to; from += PAGE) {
    const end = Math.min(to, from + PAGE)
    const query = db.selectFrom('store_changes').selectAll().where('epoch', '>', from)
    const rows = await query.where('epoch', '<=', end).orderBy('epoch').execute()
    for (let epoch = from + 1; epoch <= end; epoch++) {
      const row = rows[epoch - from - 1]
      if (row?.epoch !== epoch) {
        throw new StoreError('ROW_MAC', `entry ${epoch} of the change feed is missing`)
      }
      if (!sameMac(row.mac, keys.changesMac(epoch, row.changes))) {
        throw new StoreError(
          'ROW_MAC',
          `entry ${epoch} of the change feed is not as it was written`,
        )
      }
      entries.push(decoded(row.changes))
    }
  }
  return entries
}

/** Takes away entries that are older than the feed must go back: twice, as others may be behind. */
export async function pruneFeed(
  db: Kysely<Schema>,
  { epoch, length }: { readonly epoch: number; readonly length: number },
): Promise<void> {
  await db
    .deleteFrom('store_changes')
    .where('epoch', '<', epoch - 2 * length)
    .execute()
}

/** Reads what the MAC has proven to be ours. */
function decoded(text: string): FeedEntry {
  const { id, rows }: { readonly id: string; readonly rows: readonly EncodedRow[] } =
    JSON.parse(text)
  return {
    id,
    changes: new Map(
      rows.map(([key, version, mac]) => [
        key,
        version === undefined || mac === undefined ? null : { version, mac },
      ]),
    ),
  }
}
