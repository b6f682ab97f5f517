import { CodedError } from '@cloister/sealed'
import type { HeadsTable } from './schema.ts'
import type { StoreTransaction } from './transaction.ts'

/** One state of a dataset. */
export interface Head {
  /** Counted from 1. */
  readonly version: number
  /** SHA-256 of the manifest. */
  readonly manifestDigest: string
  /** The public key that signed the manifest. */
  readonly writerKey: string
}

/** Where a dataset stands now. */
export interface StoredHead extends Head {
  readonly datasetId: string
  /** Account that the dataset belongs to. */
  readonly owner: string
}

/**
 * Why a head was not moved: it does not stand where the caller believed, the next version does not
 * follow, or the dataset is another account's.
 */
export type HeadCode = 'HEAD_CONFLICT' | 'HEAD_VERSION' | 'HEAD_OWNER'

/** Thrown when a head is not moved. */
export class HeadError extends CodedError<HeadCode> {
  /** Where the head stands; undefined where the dataset has none. */
  readonly seen: StoredHead | undefined

  constructor(code: HeadCode, message: string, seen: StoredHead | undefined) {
    super(code, message)
    this.seen = seen
  }
}

/** Reads where a dataset stands; undefined where it has no head. @throws StoreError ROW_MAC */
export async function getHead(
  { db, guard }: StoreTransaction,
  datasetId: string,
): Promise<StoredHead | undefined> {
  const query = db.selectFrom('heads').selectAll().where('dataset_id', '=', datasetId)
  const row = guard.proven('heads', datasetId, await query.executeTakeFirst())
  if (row === undefined) return undefined
  return {
    datasetId,
    owner: row.owner,
    version: row.version,
    manifestDigest: row.manifest_digest,
    writerKey: row.writer_key,
  }
}

const place = (head: Pick<Head, 'version' | 'manifestDigest'> | null | undefined): string =>
  head ? `version ${head.version} (${head.manifestDigest})` : 'no head'

/**
 * Moves a dataset's head by compare-and-set; `expected` null makes the first one.
 * @throws HeadError; StoreError ROW_MAC
 */
export async function moveHead(
  tx: StoreTransaction,
  move: {
    readonly datasetId: string
    readonly owner: string
    readonly expected: Pick<Head, 'version' | 'manifestDigest'> | null
    readonly next: Head
  },
): Promise<StoredHead> {
  const { datasetId, expected, next, owner } = move
  const seen = await getHead(tx, datasetId)
  if (seen !== undefined && seen.owner !== owner) {
    throw new HeadError('HEAD_OWNER', `dataset ${datasetId} is another account's`, seen)
  }
  const stands =
    expected?.version === seen?.version && expected?.manifestDigest === seen?.manifestDigest
  if (!stands) {
    const message = `dataset ${datasetId}: wanted ${place(expected)}, seen ${place(seen)}`
    throw new HeadError('HEAD_CONFLICT', message, seen)
  }
  const wanted = (seen?.version ?? 0) + 1
  if (next.version !== wanted) {
    const message = `dataset ${datasetId}: wanted next version ${wanted}, seen ${next.version}`
    throw new HeadError('HEAD_VERSION', message, seen)
  }
  const columns = {
    dataset_id: datasetId,
    owner,
    version: next.version,
    manifest_digest: next.manifestDigest,
    writer_key: next.writerKey,
  }
  const row = { ...columns, ...tx.guard.stamp<HeadsTable>('heads', datasetId, columns) }
  tx.put('heads', row)
  const { version, manifestDigest, writerKey } = next
  return { datasetId, owner, version, manifestDigest, writerKey }
}
