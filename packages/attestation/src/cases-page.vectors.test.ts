import { readFileSync, writeFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { CodedError } from './errors.ts'
import { SNP_CASES } from './sev-snp/snp-cases.test.support.ts'
import { CASES, collateralOf, HAS_VECTORS, rootOfCase, SKIPPED } from './vectors.test.support.ts'
import { AMD_ROOTS } from './verify/roots.ts'
import { verifyEvidence } from './verify-evidence.ts'

const PAGE = new URL('../../../docs/attestation-cases.md', import.meta.url)

/** A row of the page, as this very run sees the case. */
function row(name: string, seconds: number, verify: () => readonly string[]): string {
  const at = new Date(seconds * 1000).toISOString().slice(0, 10)
  try {
    return `| ${[name, at, 'verified', ...verify()].join(' | ')} |`
  } catch (error) {
    if (!(error instanceof CodedError)) throw error
    return `| ${[name, at, 'refused', `${error.name} \`${String(error.code)}\``, ''].join(' | ')} |`
  }
}

function page(): string {
  const quotes = CASES.flatMap(one => {
    const collateral = collateralOf(one)
    if (collateral === undefined) return []
    const { evidence, expected, name } = one
    const at = new Date(expected.time * 1000)
    return row(name, expected.time, () => {
      const claims = verifyEvidence({ evidence, collateral, roots: [rootOfCase(one)], at })
      return [claims.tcbStatus, claims.advisoryIds.join(', ') || 'none']
    })
  })
  const reports = SNP_CASES.map(({ name, evidence, collateral, expected }) =>
    row(`snp/${name}`, expected.time, () => {
      const at = new Date(expected.time * 1000)
      const { tcb, product } = verifyEvidence({ evidence, collateral, roots: AMD_ROOTS, at })
      const parts = Object.entries(tcb.reported).map(([part, svn]) => `${part} ${svn}`)
      return [`${product}: ${parts.join(', ')}`, 'AMD publishes none']
    }),
  )
  return `# Evidence of real hardware, and what is found

\`\`\`
CLOISTER_VECTORS=… npm test                          # checks that this page says what a run finds
WRITE_CASES=1 CLOISTER_VECTORS=… npx vitest run packages/attestation/dist/cases-page.vectors.test.js
\`\`\`

Quotes and reports that real SGX, TDX and SEV-SNP hardware made, each judged at the day given, with the collateral of that time. They belong to others and are not part of this repository. Statuses are Intel's verdict alone: policy refuses debug and old platforms. SEV-SNP cases are without a revocation list, and their claims say so.

| case | judged at | verdict | status or reason | advisories |
|---|---|---|---|---|
${[...quotes, ...reports].join('\n')}
`
}

describe.skipIf(!HAS_VECTORS)(`docs/attestation-cases.md${SKIPPED}`, () => {
  it('says what this run finds', () => {
    if (process.env['WRITE_CASES'] === '1') writeFileSync(PAGE, page())
    expect(readFileSync(PAGE, 'utf8')).toBe(page())
  })
})
