import { isIPv6 } from 'node:net'
import type { FastifyRequest } from 'fastify'
import { TokenBucket } from 'limiter'
import { LRUCache } from 'lru-cache'
import { KmsError } from '../../protocol/errors.ts'

/** Requests a second that are let through for good; ten seconds' worth at once. 0: any number. */
export interface Rates {
  /** Of one account, once it proved to be that. */
  readonly account: number
  /**
   * Of one address, of requests that prove nothing: calls that anybody may make, and those that were
   * to prove something and did not.
   */
  readonly address: number
}

/**
 * Far above what an account does from one place, and far below what it takes to keep a core busy with
 * evidence that is false.
 */
export const DEFAULT_RATES: Rates = { account: 5000, address: 50 }

const BURST_SECONDS = 10

/** Buckets that are kept of accounts, and of addresses. One that was not used longest goes first. */
const MAX_BUCKETS = 20_000

/** Refused for its rate: nothing was done, so that it may be sent again. */
export class RateLimited extends KmsError {
  /** Whole seconds until it may come through. */
  readonly retryAfterSeconds: number

  constructor(by: 'account' | 'address', waitMs: number) {
    const whose = by === 'account' ? 'this account' : 'this address'
    super('RATE_LIMITED', `too many requests of ${whose}`)
    this.retryAfterSeconds = Math.max(1, Math.ceil(waitMs / 1000))
  }
}

declare module 'fastify' {
  interface FastifyRequest {
    /**
     * Whether its rate is accounted for: to the account that it proved to be of, or to the address that
     * it came from.
     */
    isCounted: boolean
  }
}

/** What is looked at of a request. */
type Counted = Pick<FastifyRequest, 'ip' | 'isCounted'>

/** Limits how often one account, or one address, is served by this process. */
export class RateLimits {
  readonly #onLimited: (by: 'account' | 'address') => void
  readonly #accounts: Buckets
  readonly #addresses: Buckets

  /** @param onLimited - Told of each request that is refused. */
  constructor(rates: Rates, onLimited: (by: 'account' | 'address') => void) {
    this.#onLimited = onLimited
    this.#accounts = new Buckets(rates.account)
    this.#addresses = new Buckets(rates.address)
  }

  /** Counts a request for the account that it proved to be of. @throws RateLimited */
  countFor(request: Counted, accountId: string): void {
    if (request.isCounted) return
    request.isCounted = true
    const limited = this.#take('account', this.#accounts, accountId)
    if (limited !== undefined) throw limited
  }

  /**
   * Counts a request that proves nothing for the address that it came from, unless it is counted.
   * @returns Its refusal, where it is one too many
   */
  countUnproven(request: Counted): RateLimited | undefined {
    if (request.isCounted) return undefined
    request.isCounted = true
    return this.#take('address', this.#addresses, addressRange(request.ip))
  }

  /**
   * The refusal of a request whose address has no more to spend on what proves nothing; takes nothing
   * of it. Asked before a long body is read.
   */
  spent(request: Counted): RateLimited | undefined {
    const waitMs = this.#addresses.waitOf(addressRange(request.ip))
    return waitMs === 0 ? undefined : this.#limited('address', waitMs)
  }

  /** Whether a request's address has no more to spend on what proves nothing. */
  hasSpent(request: Counted): boolean {
    return this.#addresses.waitOf(addressRange(request.ip)) > 0
  }

  #take(by: 'account' | 'address', buckets: Buckets, key: string): RateLimited | undefined {
    const waitMs = buckets.take(key)
    return waitMs === 0 ? undefined : this.#limited(by, waitMs)
  }

  #limited(by: 'account' | 'address', waitMs: number): RateLimited {
    this.#onLimited(by)
    return new RateLimited(by, waitMs)
  }
}

/** A token bucket for each key, in bounded memory. */
class Buckets {
  readonly #rate: number
  readonly #buckets = new LRUCache<string, TokenBucket>({ max: MAX_BUCKETS })

  constructor(rate: number) {
    this.#rate = rate
  }

  /** Takes a token; gives the milliseconds until there is one where there is none. */
  take(key: string): number {
    if (this.#rate === 0) return 0
    const bucket = this.#buckets.get(key) ?? this.#fresh(key)
    return bucket.tryRemoveTokens(1) ? 0 : Math.max(1, bucket.getWaitTime(1))
  }

  /** Milliseconds until there is a token; takes none. */
  waitOf(key: string): number {
    if (this.#rate === 0) return 0
    return this.#buckets.get(key)?.getWaitTime(1) ?? 0
  }

  #fresh(key: string): TokenBucket {
    const bucketSize = this.#rate * BURST_SECONDS
    const bucket = new TokenBucket({
      bucketSize,
      tokensPerInterval: this.#rate,
      interval: 'second',
    })
    // The library's begin empty.
    bucket.content = bucketSize
    this.#buckets.set(key, bucket)
    return bucket
  }
}

/**
 * What counts as one address: of IPv6 the network of 64 bits that a host has to itself, all of whose
 * addresses it may take as it likes.
 */
export function addressRange(ip: string): string {
  if (!isIPv6(ip)) return ip
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(ip)?.[1]
  if (mapped !== undefined) return mapped
  // The host part of a URL is the canonical form, without a zone.
  const { hostname } = new URL(`http://[${ip.replace(/%.*$/, '')}]`)
  const [head = '', tail = ''] = hostname.slice(1, -1).split('::')
  const groups = [head, tail].map(text => (text === '' ? [] : text.split(':')))
  const [first = [], last = []] = groups
  const zeros = new Array<string>(8 - first.length - last.length).fill('0')
  return `${[...first, ...(hostname.includes('::') ? zeros : []), ...last].slice(0, 4).join(':')}::/64`
}
