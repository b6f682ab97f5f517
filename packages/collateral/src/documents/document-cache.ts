import { CodedError, type TrustRoot } from '@cloister/attestation'
import { CollateralUnavailableError, UpstreamError } from '../errors.ts'
import type { UpstreamPool } from '../upstream-pool.ts'
import { fetchDocument } from './fetch-document.ts'
import { Kept } from './kept.ts'
import { type DocumentName, isPassing, keyOf, ROOT_CA_CRL } from './name.ts'
import type { RawDocument } from './raw-document.ts'
import type { DocumentStore, StoredDocument } from './store.ts'
import {
  type Content,
  pckCaOf,
  type RevocationLists,
  rootCertificateOf,
  type VerifiedDocument,
  verifyDocument,
} from './verify-document.ts'

/** A document that verified, with what it was verified with. */
export interface Entry extends VerifiedDocument {
  readonly raw: RawDocument
  /** The upstream's name, or `kept`. */
  readonly from: string
  readonly fetchedAt: Date
  /** The revocation lists it was verified with. It is verified anew when one of them changes. */
  readonly basis: readonly Entry[]
}

/** Something that happened to a document, for logs. */
export interface CacheEvent {
  readonly event: 'fetched' | 'fetch-failed' | 'served-stale' | 'store-failed'
  readonly document: string
  readonly from?: string
  readonly reasons?: readonly string[]
}

/** Options of {@link DocumentCache}. */
export interface DocumentCacheOptions {
  readonly pool: UpstreamPool
  /** What documents have to lead up to. */
  readonly roots: readonly TrustRoot[]
  /** Where documents are kept between runs; without it, in memory only. */
  readonly store?: DocumentStore
  /** Whether a document may be fetched, if it is kept or if it is not; any unless told. */
  readonly mayFetch?: (name: DocumentName, isKept: boolean) => boolean
  /** How long after its end a document still serves when no upstream has newer; 0 unless told. */
  readonly graceDays?: number
  /** After how long what is kept is fetched anew, behind the caller's back; 12 hours unless told. */
  readonly refreshAfterMs?: number
  /** Until an answer must have come in whole; 10,000 unless told. */
  readonly timeoutMs?: number
  /** How long a failure is told again in place of asking again; 0 unless told. */
  readonly failureMemoryMs?: number
  /** Bytes of documents that are held in memory; 64 MiB unless told. */
  readonly mostBytes?: number
  readonly onEvent?: (event: CacheEvent) => void
  readonly now: () => Date
}

const REFRESH_AFTER_MS = 12 * 60 * 60 * 1000
/** Until what is kept is fetched anew once more, after that failed. */
const RETRY_AFTER_MS = 60_000
const TIMEOUT_MS = 10_000
const MOST_BYTES = 64 << 20
const MOST_FAILURES = 4096
const DAY = 24 * 60 * 60 * 1000

/**
 * Fetches, verifies and keeps documents, each on its own: what one upstream lacks or alters, another
 * gives. Nothing that did not verify up to a pinned root leaves or is kept.
 */
export class DocumentCache {
  readonly #options: DocumentCacheOptions
  readonly #kept: Kept
  readonly #underWay = new Map<string, Promise<Entry>>()
  readonly #failures = new Map<string, { readonly at: number; readonly error: Error }>()
  /** The certificate of a pinned root that came last; what its list is verified by. */
  #rootFound: string | undefined

  constructor(options: DocumentCacheOptions) {
    this.#options = options
    this.#kept = new Kept(options.mostBytes ?? MOST_BYTES)
  }

  /** A document that is in memory, in date and not due for a fetch: without any waiting. */
  ready(name: DocumentName): Entry | undefined {
    const entry = this.#kept.get(keyOf(name))
    return entry !== undefined && this.#isGood(entry, 0) && !this.#isDue(entry) ? entry : undefined
  }

  /**
   * A document that verifies now: what is kept, or what the first upstream gives that has it. Callers
   * who ask for the same at once share one fetch.
   * @throws CollateralUnavailableError
   */
  get(name: DocumentName): Promise<Entry> {
    return this.#get(name, false)
  }

  /**
   * The same, for whoever may have any document fetched.
   * @throws CollateralUnavailableError
   */
  obtain(name: DocumentName): Promise<Entry> {
    return this.#get(name, true)
  }

  async #get(name: DocumentName, mayFetch: boolean): Promise<Entry> {
    const kept = await this.#current(name)
    const may = mayFetch || this.#mayFetch(name, kept !== undefined)
    if (kept !== undefined && this.#isGood(kept, 0)) {
      // Whoever asks need not wait: what is kept is still in date.
      if (this.#isDue(kept)) this.refresh(name).catch(() => {})
      return kept
    }
    try {
      if (may) return await this.refresh(name)
      throw new CollateralUnavailableError('NOT_KEPT', keyOf(name))
    } catch (error) {
      if (kept === undefined || !this.#isGood(kept, this.#options.graceDays ?? 0)) throw error
      this.#tell({ event: 'served-stale', document: keyOf(name) })
      return kept
    }
  }

  /** What is kept of a document, whatever its dates; nothing is fetched. */
  async peek(name: DocumentName): Promise<Entry | undefined> {
    return this.#kept.get(keyOf(name)) ?? (await this.#restore(name))
  }

  /** Whether an entry is past its end, and serves by grace alone. */
  isStale(entry: Entry): boolean {
    return !this.#isGood(entry, 0)
  }

  /**
   * Fetches a document anew, whatever is kept.
   * @throws CollateralUnavailableError
   */
  refresh(name: DocumentName): Promise<Entry> {
    const key = keyOf(name)
    const underWay = this.#underWay.get(key)
    if (underWay !== undefined) return underWay
    const failure = this.#failures.get(key)
    const { failureMemoryMs = 0 } = this.#options
    if (failure !== undefined && this.#now().getTime() - failure.at < failureMemoryMs) {
      return Promise.reject(failure.error)
    }
    const started = this.#fetch(name).finally(() => this.#underWay.delete(key))
    this.#underWay.set(key, started)
    return started
  }

  /**
   * Takes a document from elsewhere, as if it came from the network, and keeps it.
   * @throws what `verifyDocument` throws; UpstreamError OLDER; the file system's errors
   */
  async accept(raw: RawDocument, from: string): Promise<Entry> {
    const { graceDays = 0 } = this.#options
    const entry = await this.#verified(raw, from, this.#now(), { graceDays, mayFetch: false })
    const kept = await this.#current(raw.name)
    // The same again is no loss; an older one would take back what a newer one says.
    if (kept !== undefined) this.#requireNewer(entry, kept)
    await this.#options.store?.put({ ...raw, from, fetchedAt: entry.fetchedAt })
    return this.#keep(entry)
  }

  /** Every document that is kept and verifies with the lists that are kept, whatever its own end. */
  async *entries(): AsyncGenerator<Entry> {
    const seen = new Set<string>()
    for await (const stored of this.#options.store?.list() ?? []) {
      seen.add(keyOf(stored.name))
      const entry = await this.peek(stored.name)
      if (entry !== undefined) yield entry
    }
    for (const entry of this.#kept.all()) if (!seen.has(keyOf(entry.raw.name))) yield entry
  }

  #now(): Date {
    return this.#options.now()
  }

  #mayFetch(name: DocumentName, isKept: boolean): boolean {
    return this.#options.mayFetch?.(name, isKept) ?? true
  }

  /** Whether newer is to be fetched behind the caller's back. */
  #isDue({ raw: { name }, fetchedAt }: Entry): boolean {
    const { refreshAfterMs = REFRESH_AFTER_MS } = this.#options
    const now = this.#now().getTime()
    if (!(now - fetchedAt.getTime() > refreshAfterMs) || !this.#mayFetch(name, true)) return false
    const failedAt = this.#failures.get(keyOf(name))?.at ?? Number.NEGATIVE_INFINITY
    return now - failedAt > RETRY_AFTER_MS
  }

  /** In date, or within the grace, by lists that are so too and that no newer ones replaced. */
  #isGood(entry: Entry, graceDays: number): boolean {
    const { endsAt, basis } = entry
    if (!(this.#now().getTime() <= endsAt.getTime() + graceDays * DAY)) return false
    return basis.every(
      list => this.#kept.get(keyOf(list.raw.name)) === list && this.#isGood(list, graceDays),
    )
  }

  /** What is kept, verified anew where a list has changed since. */
  async #current(name: DocumentName): Promise<Entry | undefined> {
    const entry = this.#kept.get(keyOf(name)) ?? (await this.#restore(name))
    if (entry === undefined) return undefined
    const isSame = entry.basis.every(list => this.#kept.get(keyOf(list.raw.name)) === list)
    return isSame ? entry : await this.#again(entry.raw, entry.from, entry.fetchedAt)
  }

  async #restore(name: DocumentName): Promise<Entry | undefined> {
    const stored = await this.#options.store?.get(name)
    return stored === undefined ? undefined : await this.#again(stored, 'kept', stored.fetchedAt)
  }

  /** Verifies what was kept; what does not verify any more is no longer there. */
  async #again(
    { name, body, chain }: RawDocument | StoredDocument,
    from: string,
    fetchedAt: Date,
  ): Promise<Entry | undefined> {
    try {
      const { graceDays = 0 } = this.#options
      const options = { graceDays, mayFetch: false }
      return this.#keep(await this.#verified({ name, body, chain }, from, fetchedAt, options))
    } catch (error) {
      if (!(error instanceof CodedError)) throw error
      this.#kept.delete(keyOf(name))
      return undefined
    }
  }

  #keep(entry: Entry): Entry {
    this.#kept.set(keyOf(entry.raw.name), entry)
    return entry
  }

  async #fetch(name: DocumentName): Promise<Entry> {
    const key = keyOf(name)
    const { timeoutMs = TIMEOUT_MS, pool } = this.#options
    try {
      const root = name.kind === 'rootCaCrl' ? await this.#rootCertificate() : ''
      const kept = await this.#current(name)
      const { good, from } = await pool.ask(
        key,
        upstream => fetchDocument(upstream, name, timeoutMs, root),
        async raw => {
          const entry = await this.#verified(raw, '', this.#now(), { graceDays: 0, mayFetch: true })
          if (kept !== undefined) this.#requireNewer(entry, kept)
          return entry
        },
      )
      const entry = { ...good, from }
      await this.#put(entry)
      this.#failures.delete(key)
      this.#tell({ event: 'fetched', document: key, from })
      return this.#keep(entry)
    } catch (error) {
      if (error instanceof CollateralUnavailableError) this.#remember(key, error)
      throw error
    }
  }

  #remember(key: string, error: CollateralUnavailableError): void {
    this.#tell({ event: 'fetch-failed', document: key, reasons: error.reasons })
    if (error.code !== 'UNAVAILABLE') return
    this.#failures.delete(key)
    this.#failures.set(key, { at: this.#now().getTime(), error })
    const [oldest] = this.#failures.keys()
    if (this.#failures.size > MOST_FAILURES && oldest !== undefined) this.#failures.delete(oldest)
  }

  /** A full disk does not stop the service: what verified is served from memory. */
  async #put({ raw, from, fetchedAt }: Entry): Promise<void> {
    if (isPassing(raw.name)) return
    try {
      await this.#options.store?.put({ ...raw, from, fetchedAt })
    } catch (error) {
      const reasons = [String(error)]
      this.#tell({ event: 'store-failed', document: keyOf(raw.name), reasons })
    }
  }

  async #verified(
    raw: RawDocument,
    from: string,
    fetchedAt: Date,
    { graceDays, mayFetch }: { readonly graceDays: number; readonly mayFetch: boolean },
  ): Promise<Entry> {
    const basis = await this.#basisOf(raw, mayFetch)
    const { roots } = this.#options
    const options = { roots, at: this.#now(), collateralGraceDays: graceDays }
    return { ...verifyDocument(raw, listsIn(basis), options), raw, from, fetchedAt, basis }
  }

  /** The lists that a document is verified with, fetched first where they are not there. */
  async #basisOf({ name, chain }: RawDocument, mayFetch: boolean): Promise<readonly Entry[]> {
    if (name.kind === 'rootCaCrl' || name.kind === 'fmspcs') return []
    this.#rootFound = rootCertificateOf(chain, this.#options)
    const root = await this.#get(ROOT_CA_CRL, mayFetch)
    if (name.kind !== 'pckCertificates' && name.kind !== 'pckCertificate') return [root]
    return [root, await this.#get({ kind: 'pckCrl', ca: pckCaOf(chain) }, mayFetch)]
  }

  /** The certificate of a pinned root, from what is kept or else from the chain of another list. */
  async #rootCertificate(): Promise<string> {
    const kept = this.#kept.get(keyOf(ROOT_CA_CRL))?.raw.chain ?? this.#rootFound
    if (kept !== undefined) return kept
    const { pool, timeoutMs = TIMEOUT_MS } = this.#options
    const list = { kind: 'pckCrl', ca: 'platform' } as const
    const { good } = await pool.ask(
      keyOf(ROOT_CA_CRL),
      upstream => fetchDocument(upstream, list, timeoutMs),
      async ({ chain }) => rootCertificateOf(chain, this.#options),
    )
    return good
  }

  /** What is kept is not to be taken back by an older document, or by another platform's. */
  #requireNewer(entry: Entry, kept: Entry): void {
    const [ppid, before] = [entry, kept].map(({ content }) =>
      content.kind === 'pcks' ? content.pcks.ppid : '',
    )
    if (ppid !== before) {
      throw new UpstreamError('FORMAT', 'it sent PCK certificates of another platform')
    }
    const [now, then] = [entry, kept].map(({ issuedAt }) => issuedAt?.getTime() ?? 0)
    if (!this.#isGood(kept, 0) || (now ?? 0) >= (then ?? 0)) return
    const issued = kept.issuedAt?.toISOString() ?? ''
    throw new UpstreamError('OLDER', `it sent one issued before ${issued}, which is kept`)
  }

  #tell(event: CacheEvent): void {
    this.#options.onEvent?.(event)
  }
}

function listsIn(basis: readonly Entry[]): RevocationLists {
  const [rootCaCrl, pckCrl] = basis.map(({ content }) => derOf(content))
  return {
    ...(rootCaCrl === undefined ? {} : { rootCaCrl }),
    ...(pckCrl === undefined ? {} : { pckCrl }),
  }
}

function derOf(content: Content): Uint8Array | undefined {
  return content.kind === 'crl' ? content.der : undefined
}
