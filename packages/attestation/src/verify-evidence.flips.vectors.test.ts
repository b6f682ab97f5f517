import { describe, expect, it } from 'vitest'
import { CodedError } from './errors.ts'
import { parseQuote } from './quote/quote.ts'
import { CASES, collateralOf, HAS_VECTORS, rootOfCase, SKIPPED } from './vectors.test.support.ts'
import { verifyCollateral } from './verify/verified-collateral.ts'
import { verifyEvidence } from './verify-evidence.ts'

const SLOW = process.env['SLOW'] === '1'
const SEED = 0x5eed

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

/** Seeded, without a pattern: xorshift of 32 bits. */
function* seeded(below: number, count: number): Iterable<number> {
  let state = SEED
  for (let done = 0; done < count; done++) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    yield (state >>> 0) % below
  }
}

function* every(below: number): Iterable<number> {
  for (let bit = 0; bit < below; bit++) yield bit
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
    const at = new Date(expected.time * 1000)
    const roots = [rootOfCase(one)]
    const collateral = verifyCollateral({ collateral: source, roots, at })
    const bits = signedBits(evidence)
    // Where the chain is given, the type of the quote's own certification data says nothing.
    const hint = source.pckCertificateChain === undefined ? -1 : bits - 6 * 8
    const isHint = (bit: number) => hint >= 0 && bit >= hint && bit < hint + 16
    const whole = SLOW || swept.includes(name)
    const accepted: number[] = []
    const changed = evidence.slice()
    for (const bit of whole ? every(bits) : seeded(bits, 2000)) {
      if (isHint(bit)) continue
      const mask = 1 << (bit & 7)
      const at8 = bit >> 3
      changed[at8] = (changed[at8] ?? 0) ^ mask
      try {
        verifyEvidence({ evidence: changed, collateral, roots, at })
        accepted.push(bit)
      } catch (error) {
        if (!(error instanceof CodedError)) throw error
      }
      changed[at8] = (changed[at8] ?? 0) ^ mask
    }
    expect(accepted).toEqual([])
  })
})
