import { type Known, StoreError, type StoreTransaction } from '../store/index.ts'
import type { AuditLeavesTable, AuditLogTable } from '../store/schema.ts'
import { type AuditEntry, encodeAuditEntry } from './entry.ts'
import { AuditError } from './errors.ts'
import {
  HASH_LENGTH,
  type InclusionProof,
  leafHash,
  verifyConsistency,
  verifyInclusion,
} from './merkle.ts'
import {
  consistencyPath,
  type Frontier,
  frontierAt,
  frontierRoot,
  grow,
  inclusionPath,
  type NodeName,
  type ReadNodes,
  rootOf,
} from './tree.ts'

const LOG_ID = 1

/** An entry as it stands in the log. */
export interface LoggedEntry {
  readonly index: number
  readonly entry: AuditEntry
  /** The entry as it is hashed. */
  readonly leaf: string
  readonly leafHash: Uint8Array
}

interface State {
  readonly size: number
  readonly frontier: Frontier
}

function decodeFrontier(text: string): Frontier {
  const bytes = Buffer.from(text, 'base64url')
  const frontier: Uint8Array[] = []
  for (let at = 0; at < bytes.length; at += HASH_LENGTH) {
    frontier.push(new Uint8Array(bytes.subarray(at, at + HASH_LENGTH)))
  }
  return frontier
}

const logColumns = (size: number, frontier: Frontier) => ({
  id: LOG_ID,
  size,
  frontier: Buffer.concat(frontier).toString('base64url'),
})

function nodeReader({ db }: StoreTransaction): ReadNodes {
  return async names => {
    if (names.length === 0) return new Map()
    const query = db
      .selectFrom('audit_nodes')
      .selectAll()
      .where('node', 'in', [...names])
    const rows = await query.execute()
    return new Map(
      rows.map(row => [row.node as NodeName, new Uint8Array(Buffer.from(row.hash, 'base64url'))]),
    )
  }
}

function tampered(what: string, options?: ErrorOptions): AuditError {
  return new AuditError('LOG_TAMPERED', what, options)
}

/** Runs what reads nodes and checks them; whatever does not fit means that they were edited. */
async function untampered<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (cause) {
    const isOurs =
      cause instanceof RangeError || (cause instanceof AuditError && cause.code === 'PROOF')
    if (!isOurs) throw cause
    throw tampered('the stored nodes do not make up the log', { cause })
  }
}

/** @throws AuditError LOG_TAMPERED, naming the row */
function provenLeaf({ guard }: StoreTransaction, row: AuditLeavesTable): string {
  try {
    return guard.provenOnce('audit_leaves', String(row.idx), row).entry
  } catch (cause) {
    if (!(cause instanceof StoreError) || cause.code !== 'ROW_MAC') throw cause
    throw tampered(`row ${row.idx} is not as it was written`, { cause })
  }
}

function assertSize(what: string, value: number, max: number): void {
  if (Number.isSafeInteger(value) && value >= 0 && value <= max) return
  throw new AuditError('RANGE', `${what}: wanted a whole number from 0 to ${max}, seen ${value}`)
}

/** The append-only log of every act, release and denial: a Merkle tree as in RFC 9162. */
export class AuditLog {
  /** The log's row as it was last read or written, and the MAC that it had. */
  #last: (State & { readonly mac: string }) | undefined
  /** The log's row as each reading transaction has it, which is of one moment. */
  readonly #read = new WeakMap<StoreTransaction, State>()

  /** Appends an entry, in the transaction of the act itself. */
  async append(
    tx: StoreTransaction,
    entry: AuditEntry,
  ): Promise<{ readonly index: number; readonly leafHash: Uint8Array }> {
    const { frontier, size } = await this.#state(tx)
    const encoded = encodeAuditEntry(entry)
    const hash = leafHash(encoded)
    const grown = grow(size, frontier, hash)
    const leaf = { idx: size, entry: new TextDecoder().decode(encoded) }
    const leafStamp = tx.guard.stampOnce('audit_leaves', String(size), leaf)
    tx.insert('audit_leaves', { ...leaf, ...leafStamp })
    for (const node of grown.nodes) {
      const hash = Buffer.from(node.hash).toString('base64url')
      tx.insert('audit_nodes', { node: node.name, hash })
    }
    const columns = logColumns(size + 1, grown.frontier)
    const stamp = tx.guard.stamp<AuditLogTable>('audit_log', String(LOG_ID), columns)
    tx.put('audit_log', { ...columns, ...stamp })
    this.#last = { mac: stamp.mac, size: size + 1, frontier: grown.frontier }
    return { index: size, leafHash: hash }
  }

  /** The log's size and root now. @throws StoreError ROW_MAC */
  async root(
    tx: StoreTransaction,
  ): Promise<{ readonly size: number; readonly rootHash: Uint8Array }> {
    const { frontier, size } = await this.#state(tx)
    return { size, rootHash: frontierRoot(frontier) }
  }

  /**
   * Requires the log to continue the one that a replica saw before: its one row is written anew with
   * each entry, and so the version that the replica remembers of it is the log's size then.
   * @throws StoreError ROLLED_BACK
   */
  async requireContinued(tx: StoreTransaction, before: Known | undefined): Promise<void> {
    if (before === undefined) return
    const refuse = (cause?: unknown): never => {
      const rows = `the log does not go on from the ${before.version} rows that this process has seen`
      throw new StoreError('ROLLED_BACK', `${rows}: another database was put in its place`, {
        cause,
      })
    }
    const { frontier, size } = await this.stateAt(tx, before.version).catch(refuse)
    const columns = logColumns(size, frontier)
    if (!tx.guard.stood('audit_log', String(LOG_ID), before, columns)) refuse()
  }

  /**
   * Entries after an index (-1: from the first), in order.
   * @param range - `limit`: at most 1000.
   * @throws AuditError RANGE, LOG_TAMPERED where one is missing or altered; StoreError ROW_MAC
   */
  async entries(
    tx: StoreTransaction,
    range: { readonly after: number; readonly limit: number },
  ): Promise<readonly LoggedEntry[]> {
    const { size } = await this.#state(tx)
    assertSize('limit', range.limit, 1000)
    assertSize('after, counted from -1', range.after + 1, Number.MAX_SAFE_INTEGER)
    const start = range.after + 1
    const query = tx.db.selectFrom('audit_leaves').selectAll().where('idx', '>', range.after)
    // One more, to see what was added behind the end.
    const found = await query
      .orderBy('idx')
      .limit(range.limit + 1)
      .execute()
    const wanted = Math.max(0, Math.min(range.limit, size - start))
    const added = found.find(row => row.idx >= size)
    if (added !== undefined) throw tampered(`row ${added.idx} was added from outside`)
    const rows = found.slice(0, wanted)
    const missing = Array.from({ length: wanted }, (_, offset) => start + offset)
    const gap = missing.find((index, offset) => rows[offset]?.idx !== index)
    if (gap !== undefined) throw tampered(`row ${gap} is missing`)
    return rows.map(row => {
      const leaf = provenLeaf(tx, row)
      const entry: AuditEntry = JSON.parse(leaf)
      return { index: row.idx, entry, leaf, leafHash: leafHash(new TextEncoder().encode(leaf)) }
    })
  }

  /**
   * Proves an entry to be in the log as it is now, or as it was at an earlier size.
   * @throws AuditError RANGE, LOG_TAMPERED
   */
  async inclusionProof(
    tx: StoreTransaction,
    index: number,
    size?: number,
  ): Promise<InclusionProof> {
    const state = await this.#state(tx)
    const treeSize = size ?? state.size
    assertSize('size', treeSize, state.size)
    if (treeSize === 0) throw new AuditError('RANGE', 'the log was empty at size 0')
    assertSize('index', index, treeSize - 1)
    return await untampered(async () => {
      const read = nodeReader(tx)
      const path = await inclusionPath(index, treeSize, read)
      const rootHash = await this.#provenRoot(state, treeSize, read)
      const leaf = (await read([`0/${index}`])).get(`0/${index}`)
      if (leaf === undefined) throw new RangeError(`leaf ${index} is missing`)
      const proof = { index, size: treeSize, path }
      verifyInclusion({ ...proof, leafHash: leaf, rootHash })
      return proof
    })
  }

  /**
   * Proves the log of `firstSize` entries to be the beginning of the one of `secondSize`.
   * @throws AuditError RANGE, LOG_TAMPERED
   */
  async consistencyProof(
    tx: StoreTransaction,
    firstSize: number,
    secondSize: number,
  ): Promise<readonly Uint8Array[]> {
    const state = await this.#state(tx)
    assertSize('secondSize', secondSize, state.size)
    assertSize('firstSize', firstSize, secondSize)
    return await untampered(async () => {
      const read = nodeReader(tx)
      const path = await consistencyPath(firstSize, secondSize, read)
      const [firstRootHash, secondRootHash] = [
        await this.#provenRoot(state, firstSize, read),
        await this.#provenRoot(state, secondSize, read),
      ]
      verifyConsistency({ firstSize, firstRootHash, secondSize, secondRootHash, path })
      return path
    })
  }

  /**
   * The log as it was at an earlier size: its complete subtrees' roots, from the left, and its root.
   * @throws AuditError RANGE, LOG_TAMPERED
   */
  async stateAt(
    tx: StoreTransaction,
    size: number,
  ): Promise<{
    readonly size: number
    readonly frontier: Frontier
    readonly rootHash: Uint8Array
  }> {
    const state = await this.#state(tx)
    assertSize('size', size, state.size)
    return await untampered(async () => {
      const read = nodeReader(tx)
      const rootHash = await this.#provenRoot(state, size, read)
      const frontier = await frontierAt(size, read)
      if (Buffer.compare(frontierRoot(frontier), rootHash) === 0)
        return { size, frontier, rootHash }
      throw new RangeError(`the subtrees of ${size} rows do not make its root`)
    })
  }

  /**
   * The root of trust is the log's one row, which the store proves; all else is checked against it. A
   * write need not read it where it is the same as at the last time. A read must, once: what it reads
   * then is of the same moment.
   */
  async #state(tx: StoreTransaction): Promise<State> {
    if (tx.mode === 'read') {
      const state = this.#read.get(tx) ?? (await this.#stored(tx))
      this.#read.set(tx, state)
      return state
    }
    const last = this.#last
    const isLast =
      last !== undefined && tx.guard.find('audit_log', String(LOG_ID))?.mac === last.mac
    return isLast ? last : await this.#stored(tx)
  }

  async #stored({ db, guard }: StoreTransaction): Promise<State> {
    const query = db.selectFrom('audit_log').selectAll().where('id', '=', LOG_ID)
    const row = guard.proven('audit_log', String(LOG_ID), await query.executeTakeFirst())
    if (row === undefined) return { size: 0, frontier: [] }
    this.#last = { mac: row.mac, size: row.size, frontier: decodeFrontier(row.frontier) }
    return this.#last
  }

  /** Root at an earlier size, proven to be the beginning of the log as it is now. */
  async #provenRoot(state: State, size: number, read: ReadNodes): Promise<Uint8Array> {
    const now = frontierRoot(state.frontier)
    if (size === state.size) return now
    const rootHash = await rootOf(size, read)
    const path = await consistencyPath(size, state.size, read)
    verifyConsistency({
      firstSize: size,
      firstRootHash: rootHash,
      secondSize: state.size,
      secondRootHash: now,
      path,
    })
    return rootHash
  }
}
