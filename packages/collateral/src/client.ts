import { setTimeout as sleep } from 'node:timers/promises'
import {
  CodedError,
  type Collateral,
  type TrustRoot,
  type VerifiedCollateral,
  verifyCollateral,
} from '@cloister/attestation'
import { CollateralUnavailableError, UpstreamError } from './errors.ts'
import { fetchCollateral } from './fetch-collateral.ts'
import { type Platform, platformName } from './platform.ts'
import { CollateralStore } from './store.ts'
import type { Upstream } from './upstream.ts'

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
  /** The upstream's name, or `kept`. */
  readonly from: string
}

interface Entry extends KeptCollateral {
  readonly fetchedAt: number
}

const ATTEMPTS = 3
const BACKOFF_MS = 200
const UNHEALTHY_MS = 60_000
const REFRESH_AFTER_MS = 12 * 60 * 60 * 1000
const MOST_KEPT = 256

/**
 * Gets collateral from several services, verifies it before anybody sees it, and keeps it. What one
 * service alters, another's answer mends; what all alter is refused.
 */
export class CollateralClient {
  readonly #options: CollateralClientOptions
  readonly #store: CollateralStore | undefined
  readonly #kept = new Map<string, Entry>()
  readonly #underWay = new Map<string, Promise<Entry>>()
  readonly #failedAt = new Map<Upstream, number>()

  constructor(options: CollateralClientOptions) {
    this.#options = options
    this.#store = options.folder === undefined ? undefined : new CollateralStore(options.folder)
  }

  /**
   * Collateral of a platform that verifies now: what is kept, or what the first upstream gives that
   * has some. Callers who ask for the same at once share one fetch.
   * @throws CollateralUnavailableError with every upstream's reason
   */
  async get(platform: Platform): Promise<KeptCollateral> {
    const name = platformName(platform)
    const kept = this.#kept.get(name) ?? (await this.#restore(name))
    if (kept !== undefined && this.#isGood(kept.collateral, 0)) {
      const { refreshAfterMs = REFRESH_AFTER_MS } = this.#options
      const isOld = this.#now().getTime() - kept.fetchedAt > refreshAfterMs
      // Whoever asks need not wait: what is kept is still in date.
      if (isOld) this.#refresh(platform).catch(() => {})
      return kept
    }
    try {
      return await this.#refresh(platform)
    } catch (error) {
      const { graceDays = 0 } = this.#options
      if (kept !== undefined && this.#isGood(kept.collateral, graceDays)) return kept
      throw error
    }
  }

  #now(): Date {
    return this.#options.now?.() ?? new Date()
  }

  #isGood(collateral: Collateral, graceDays: number): boolean {
    return this.#verified(collateral, graceDays) instanceof Error === false
  }

  #verified(collateral: Collateral, graceDays: number): VerifiedCollateral | CodedError<string> {
    const { roots } = this.#options
    try {
      const at = this.#now()
      return verifyCollateral({ collateral, roots, at, collateralGraceDays: graceDays })
    } catch (error) {
      if (error instanceof CodedError) return error
      throw error
    }
  }

  async #restore(name: string): Promise<Entry | undefined> {
    const collateral = await this.#store?.get(name)
    if (collateral === undefined) return undefined
    const verified = this.#verified(collateral, this.#options.graceDays ?? 0)
    if (verified instanceof Error) return undefined
    // When it was fetched is not known: it is fetched anew soon.
    return this.#keep(name, { collateral, verified, from: 'kept', fetchedAt: 0 })
  }

  #keep(name: string, entry: Entry): Entry {
    this.#kept.delete(name)
    const [oldest] = this.#kept.keys()
    if (this.#kept.size >= MOST_KEPT && oldest !== undefined) this.#kept.delete(oldest)
    this.#kept.set(name, entry)
    return entry
  }

  #refresh(platform: Platform): Promise<Entry> {
    const name = platformName(platform)
    const underWay = this.#underWay.get(name)
    if (underWay !== undefined) return underWay
    const started = this.#fetch(platform).finally(() => this.#underWay.delete(name))
    this.#underWay.set(name, started)
    return started
  }

  async #fetch(platform: Platform): Promise<Entry> {
    const name = platformName(platform)
    const reasons: string[] = []
    for (const upstream of this.#inOrder()) {
      const found = await this.#ask(upstream, platform)
      if (found instanceof Error) {
        this.#failedAt.set(upstream, this.#now().getTime())
        reasons.push(`${upstream.name}: ${found.message}`)
        continue
      }
      this.#failedAt.delete(upstream)
      await this.#store?.put(name, found.collateral)
      const fetchedAt = this.#now().getTime()
      return this.#keep(name, { ...found, from: upstream.name, fetchedAt })
    }
    throw new CollateralUnavailableError(name, reasons)
  }

  #inOrder(): readonly Upstream[] {
    const now = this.#now().getTime()
    const isIll = (upstream: Upstream) =>
      now - (this.#failedAt.get(upstream) ?? Number.NEGATIVE_INFINITY) < UNHEALTHY_MS
    const { upstreams } = this.#options
    return [...upstreams.filter(one => !isIll(one)), ...upstreams.filter(isIll)]
  }

  /** Asks again after faults that pass, each time after a longer wait that nobody can foretell. */
  async #ask(
    upstream: Upstream,
    platform: Platform,
  ): Promise<Pick<Entry, 'collateral' | 'verified'> | Error> {
    const { timeoutMs = 10_000 } = this.#options
    for (let attempt = 1; ; attempt++) {
      try {
        const collateral = await fetchCollateral(upstream, platform, timeoutMs)
        const verified = this.#verified(collateral, 0)
        if (verified instanceof Error) return verified
        return this.#isOf(verified, platform)
          ? { collateral, verified }
          : new UpstreamError('FORMAT', 'it sent collateral of another platform', false)
      } catch (error) {
        if (!(error instanceof UpstreamError)) throw error
        if (!error.isTransient || attempt === ATTEMPTS) return error
      }
      await sleep(BACKOFF_MS * 2 ** attempt * (0.5 + Math.random()))
    }
  }

  #isOf(verified: VerifiedCollateral, { tee, fmspc }: Platform): boolean {
    if (verified.of === 'SEV-SNP') return false
    const isTee = verified.of === (tee === 'sgx' ? 'SGX' : 'TDX')
    return isTee && Buffer.from(verified.fmspc).toString('hex') === fmspc
  }
}
