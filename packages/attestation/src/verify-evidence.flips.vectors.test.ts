import { describe, expect, it } from 'vitest'
import type { Collateral } from './collateral/collateral.ts'
import { acceptedFlips, allOf, remembering, SEED, seeded } from './flips.test.support.ts'
import { parseQuote } from './quote/quote.ts'
import { CASES, collateralOf, HAS_VECTORS, rootOfCase, SKIPPED } from './vectors.test.support.ts'
import { pckChainOf } from './verify/pck-chain.ts'
import { verifyQuote } from './verify/quote.ts'
import type { QuoteRoot } from './verify/roots.ts'
import {
  insideOf,
  type QuoteCollateralInside,
  verifyCollateral,
} from './verify/verified-collateral.ts'
import { verifyEvidence } from './verify-evidence.ts'
import { verifyChainKnowing } from './x509/chain.ts'
import { Known } from './x509/known.ts'

const SLOW = process.env['SLOW'] === '1'

/**
 * Signed parts: all before the certification data. Its PEM has line ends that carry nothing, and the
 * CPUSVN of an identifier is a hint for finding the certificate.
 */
function signedBits(evidence: Uint8Array): number {
  const { certificationData, length } = parseQuote(evidence)
  const size =
    'data' in certificationData
      ? certificationData.data.length
      : certificationData.ppid.length + 18 + (certificationData.pceId?.length ?? 0)
  return (length - size) * 8
}

const good = CASES.filter(({ expected }) => expected.verdict === 'ok')
const version = (one: (typeof good)[number]) => one.expected.quote?.['version']
/** One quote of each format is swept whole. */
const swept = [3, 4, 5].map(format => good.find(one => version(one) === format)?.name)

describe.skipIf(!HAS_VECTORS)(`single-bit flips, seed ${SEED}${SKIPPED}`, () => {
  it.each(good)('$name', { timeout: 600_000 }, one => {
    const { evidence, expected, name } = one
    const source = collateralOf(one)
    if (source === undefined) throw new Error('a verified case has collateral')
    const bits = signedBits(evidence)
    // Where the chain is given, the type of the quote's own certification data says nothing.
    const hint = source.pckCertificateChain === undefined ? -1 : bits - 6 * 8
    const isHint = (bit: number) => hint >= 0 && bit >= hint && bit < hint + 16
    const signed = (given: Iterable<number>) => [...given].filter(bit => !isHint(bit))
    const whole = SLOW || swept.includes(name)

    const options = { roots: [rootOfCase(one)], at: new Date(expected.time * 1000) }
    const known = knowing(evidence, source, options)
    const fast = (changed: Uint8Array) =>
      verifyQuote(changed, { verified: known }, options.roots, { at: options.at, graceMs: 0 })
    expect(fast(evidence)).toEqual(verifyEvidence({ ...options, evidence, collateral: source }))
    const flips = signed(whole ? allOf(bits) : seeded(bits, 300))
    expect(acceptedFlips(evidence, flips, fast)).toEqual([])

    // That was all of verifyEvidence but what it does not know beforehand; here is the whole of it.
    const cold = (changed: Uint8Array) =>
      verifyEvidence({ ...options, evidence: changed, collateral: source })
    expect(acceptedFlips(evidence, signed(seeded(bits, 50)), cold)).toEqual([])
  })
})

/** Collateral, and the quote's own chain, verified once for all changes of a quote. */
function knowing(
  evidence: Uint8Array,
  source: Collateral,
  { roots, at }: { readonly roots: readonly QuoteRoot[]; readonly at: Date },
): QuoteCollateralInside {
  const inside = insideOf(verifyCollateral({ collateral: source, roots, at }))
  if (inside === undefined || !('documents' in inside)) throw new Error('collateral of quotes')
  const known = new Known(inside.known, remembering())
  const chain = pckChainOf(parseQuote(evidence), source, known)
  const spkis = roots.map(({ spki }) => spki)
  verifyChainKnowing(known, { chain, roots: spkis, crls: inside.collateral.crls, at })
  return { ...inside, known }
}
