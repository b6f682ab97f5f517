import { types } from 'node:util'
import { createContext, runInContext } from 'node:vm'
import { build } from 'esbuild'
import { beforeAll, describe, expect, it } from 'vitest'
import { appraiseEvidence } from './appraisal/appraise.ts'
import { readAppraisalPolicy } from './appraisal/policy.ts'
import type { Collateral } from './collateral/collateral.ts'
import { inOrder, REFUSALS, type Shown, STATUSES, snp } from './corpus.test.support.ts'
import type { SnpCollateral } from './sev-snp/collateral.ts'
import { SNP_CASES } from './sev-snp/snp-cases.test.support.ts'
import { CASES, collateralOf, rootOfCase, SKIPPED } from './vectors.test.support.ts'
import { AMD_ROOTS } from './verify/roots.ts'
import { verifyCollateral } from './verify/verified-collateral.ts'
import { verifyEvidence } from './verify-evidence.ts'
import type * as Web from './web.ts'

/** All that the bundle finds beside the language: what every browser has. */
const BROWSER = { crypto, DOMException, TextDecoder, TextEncoder, Uint8Array }

/** What a bundler makes of the entry point for browsers, run where there is nothing of Node. */
let web: typeof Web
beforeAll(async () => {
  const { outputFiles } = await build({
    entryPoints: [new URL('web.js', import.meta.url).pathname],
    ...{ bundle: true, platform: 'browser', format: 'iife', globalName: 'web', write: false },
  })
  web = runInContext(`${outputFiles[0]?.text ?? ''}; web`, createContext({ ...BROWSER }))
})

/** What may stem from another realm, as JSON can say it. */
function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return `${value}n`
  if (ArrayBuffer.isView(value))
    return Buffer.from(value.buffer, value.byteOffset, value.byteLength)
  if (types.isDate(value)) return value.toISOString()
  if (Array.isArray(value)) return value.map(plain)
  if (types.isMap(value) || types.isSet(value)) return [...value].map(plain)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, plain(member)]))
}

async function outcome(work: () => unknown): Promise<unknown> {
  try {
    return plain(await work())
  } catch (error) {
    const { name, code, message } = error as Error & { readonly code?: string }
    if (code === undefined) throw error
    return { refused: `${name} ${code}: ${message}` }
  }
}

/** Of every case, the same claims and the same refusals, message and all. */
async function requireSame(shown: Shown<Collateral | SnpCollateral>): Promise<void> {
  const own = await outcome(() => verifyEvidence(shown))
  expect(await outcome(async () => await web.verifyEvidence(shown))).toEqual(own)
  const warm = await outcome(async () => {
    const collateral = await web.verifyCollateral(shown)
    return await web.verifyEvidence({ ...shown, collateral })
  })
  expect(warm).toEqual(
    await outcome(() => verifyEvidence({ ...shown, collateral: verifyCollateral(shown) })),
  )
}

describe('in a browser, by WebCrypto', () => {
  it('there is nothing of Node', () => {
    const seen = runInContext('[typeof process, typeof Buffer, typeof require]', createContext({}))
    expect([...seen]).toEqual(['undefined', 'undefined', 'undefined'])
  })

  it.each(STATUSES)('%s: %s', async (_status, _what, show) => {
    await requireSame(show())
  })

  it.each(REFUSALS)('%s: %s', async (code, _what, shown) => {
    await requireSame(shown)
    const refused = await outcome(async () => await web.verifyEvidence(shown))
    expect(refused).toEqual({ refused: expect.stringMatching(new RegExp(`^${code}: `)) })
  })

  it('a report of SEV-SNP', async () => {
    await requireSame(snp({}))
  })

  it('an appraisal, and what would pass', async () => {
    const evidence = verifyEvidence(inOrder())
    for (const tees of [['sim'], ['sgx']] as const) {
      const policy = { version: 1, tees, platform: { tcbStatuses: [] } }
      const own = appraiseEvidence(evidence, readAppraisalPolicy(policy))
      const there = await web.appraiseEvidence(
        await web.verifyEvidence(inOrder()),
        web.readAppraisalPolicy(policy),
      )
      expect(plain(there)).toEqual(plain(own))
    }
  })
})

const quotes = CASES.flatMap(one => {
  const collateral = collateralOf(one)
  if (collateral === undefined) return []
  const at = new Date(one.expected.time * 1000)
  return [{ name: one.name, evidence: one.evidence, collateral, roots: [rootOfCase(one)], at }]
})
const reports = SNP_CASES.map(({ name, evidence, collateral, expected }) => {
  return { name, evidence, collateral, roots: AMD_ROOTS, at: new Date(expected.time * 1000) }
})

describe(`of real hardware, in a browser, by WebCrypto${SKIPPED}`, () => {
  it.each([...quotes, ...reports])('$name', async shown => {
    await requireSame(shown)
  })
})
