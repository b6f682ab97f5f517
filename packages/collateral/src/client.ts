import {
  CodedError,
  type Collateral,
  type TrustRoot,
  type VerifiedCollateral,
  verifyCollateral,
} from '@cloister/attestation'
import { collateralOf, type DocumentsOf, documentsOf } from './documents/collateral-of.ts'
import { DocumentCache } from './documents/document-cache.ts'
import { DocumentStore } from './documents/store.ts'
import { CollateralUnavailableError } from './errors.ts'
import { type Platform, platformName } from './platform.ts'
import type { Upstream } from './upstream.ts'
import { UpstreamPool } from './upstream-pool.ts'

/** Options of {@link CollateralClient}. */
export interface CollateralClientOptions {
  /** Asked in this order; one that failed is asked last for a minute. */
  readonly upstreams: readonly Upstream[]
  /** What collateral has to lead up to. */
  readonly roots: readonly TrustRoot[]
  /** Where to keep it between runs; without it, in memory only. */
  readonly folder?: string
  /** How long after its end collateral still serves when no upstream has newer; 0 unless told. */
  readonly graceDays?: number
  /** After how long what is kept is fetched anew, behind the caller's back; 12 hours unless told. */
  readonly refreshAfterMs?: number
  /** Until an answer must have come in whole; 10,000 unless told. */
  readonly timeoutMs?: number
  /** The clock; the machine's unless told. */
  readonly now?: () => Date
}

/** Collateral that verified. */
export interface KeptCollateral {
  readonly collateral: Collateral
  /** For `verifyEvidence`, which it saves time. */
  readonly verified: VerifiedCollateral
  /** Names of the upstreams that it came from, or `kept`. */
  readonly from: string
}

interface Composed extends KeptCollateral {
  readonly parts: DocumentsOf
}

const MOST_KEPT = 256

/**
 * Gets collateral from several services, verifies it before anybody sees it, and keeps it. What one
 * service alters, another's answer mends; what all alter is refused.
 */
export class CollateralClient {
  readonly #options: CollateralClientOptions
  readonly #documents: DocumentCache
  readonly #composed = new Map<string, Composed>()

  constructor(options: CollateralClientOptions) {
    const { upstreams, folder, now = () => new Date(), ...rest } = options
    this.#options = options
    this.#documents = new DocumentCache({
      ...rest,
      ...(folder === undefined ? {} : { store: new DocumentStore(folder) }),
      pool: new UpstreamPool(upstreams, now),
      now,
    })
  }

  /**
   * Collateral of a platform that verifies now: what is kept, or what the first upstream gives that
   * has some. Callers who ask for the same at once share one fetch.
   * @throws CollateralUnavailableError with every upstream's reason
   */
  async get(platform: Platform): Promise<KeptCollateral> {
    const name = platformName(platform)
    const parts = await documentsOf(this.#documents, platform)
    const known = this.#composed.get(name)
    if (known !== undefined && isSame(known.parts, parts)) return known
    const composed = { ...this.#compose(name, parts), parts }
    this.#composed.delete(name)
    this.#composed.set(name, composed)
    const [oldest] = this.#composed.keys()
    if (this.#composed.size > MOST_KEPT && oldest !== undefined) this.#composed.delete(oldest)
    return composed
  }

  #compose(name: string, parts: DocumentsOf): KeptCollateral {
    const { roots, now = () => new Date(), graceDays = 0 } = this.#options
    const collateral = collateralOf(parts)
    const froms = new Set(Object.values(parts).map(({ from }) => from))
    const from = [...froms].join(', ')
    try {
      // Each part verified already; that they go together is seen here.
      const at = now()
      const verified = verifyCollateral({ collateral, roots, at, collateralGraceDays: graceDays })
      return { collateral, verified, from }
    } catch (error) {
      if (!(error instanceof CodedError)) throw error
      throw new CollateralUnavailableError('UNAVAILABLE', name, [{ from, error }])
    }
  }
}

function isSame(some: DocumentsOf, others: DocumentsOf): boolean {
  return (['tcbInfo', 'identity', 'pckCrl', 'rootCaCrl'] as const).every(
    part => some[part] === others[part],
  )
}
