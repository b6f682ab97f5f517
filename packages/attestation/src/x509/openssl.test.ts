import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { CodedError } from '../errors.ts'
import { certificatesInQuote } from '../quote/certificates.ts'
import { parseQuote } from '../quote/quote.ts'
import { type CertificateFields, issueCertificate, issueCrl } from '../sim/certificate-writer.ts'
import type { SimRevocable } from '../sim/conditions.ts'
import { SIM_NAMES } from '../sim/names.ts'
import { createSimPlatform, stateOf, withSimConditions } from '../sim/platform.ts'
import { CASES, collateralOf, HAS_VECTORS, SKIPPED } from '../vectors.test.support.ts'
import { parseCertificate } from './certificate.ts'
import { verifyChain } from './chain.ts'
import { parseCrl } from './crl.ts'
import { encodePemCertificates, splitPemCertificates } from './pem.ts'

const AT = new Date('2026-03-01T00:00:00Z')
const DAY = 24 * 60 * 60 * 1000
const platform = createSimPlatform({ createdAt: new Date(AT.getTime() - DAY) })
const { keys, certificates } = stateOf(platform)

/** What both judge: DER, leaf first, the root that is pinned last. */
interface Shown {
  readonly chain: readonly Uint8Array[]
  readonly lists: readonly Uint8Array[]
  readonly at: Date
}

/** `OK`, or the code that this package refuses with. */
function ours({ chain, lists, at }: Shown): string {
  try {
    const parsed = chain.map(parseCertificate)
    const root = parsed.at(-1)
    if (root === undefined) throw new Error('a root')
    verifyChain({ chain: parsed, roots: [root.spki], crls: lists.map(parseCrl), at })
  } catch (error) {
    if (error instanceof CodedError) return String(error.code)
    throw error
  }
  return 'OK'
}

let folder = ''
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'cloister-openssl-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** `OK`, or what `openssl verify` complains of first. */
function openssl({ chain, lists, at }: Shown): string {
  const [leaf, ...issuers] = chain
  const root = issuers.pop()
  if (leaf === undefined || root === undefined) throw new Error('a chain')
  const file = (name: string, text: string) => {
    const path = join(folder, name)
    writeFileSync(path, text)
    return path
  }
  const listed = lists.flatMap((list, index) => [
    '-CRLfile',
    file(`${index}.crl`, encodePemCertificates(list).replaceAll('CERTIFICATE', 'X509 CRL')),
  ])
  const between =
    issuers.length === 0 ? [] : ['-untrusted', file('ca.pem', encodePemCertificates(...issuers))]
  const { stdout, stderr } = spawnSync(
    'openssl',
    [
      ...['verify', '-x509_strict', '-check_ss_sig', '-crl_check_all'],
      ...['-attime', String(Math.floor(at.getTime() / 1000))],
      ...['-CAfile', file('root.pem', encodePemCertificates(root)), ...listed, ...between],
      file('leaf.pem', encodePemCertificates(leaf)),
    ],
    { encoding: 'utf8' },
  )
  if (stdout.endsWith(': OK\n')) return 'OK'
  return (
    /lookup: (.*)/.exec(stderr)?.[1] ?? /(?:Could not|unable to) .*/i.exec(stderr)?.[0] ?? stderr
  )
}

const validity = { notBefore: new Date(AT.getTime() - DAY), notAfter: new Date(AT.getTime() + DAY) }
const { pck, platformCa, root } = certificates
const leafWith = (change: Partial<CertificateFields>) =>
  issueCertificate({
    ...{ issuer: { commonName: SIM_NAMES.platformCa, key: keys.platformCa } },
    ...{ commonName: SIM_NAMES.pck, key: keys.pck, ...validity, ...change },
  })
const caWith = (change: Partial<CertificateFields>) =>
  issueCertificate({
    ...{ issuer: { commonName: SIM_NAMES.root, key: keys.root } },
    ...{ commonName: SIM_NAMES.platformCa, key: keys.platformCa, ...validity, ...change },
  })
const listsOf = (...revoked: readonly SimRevocable[]) => {
  const { rootCaCrl, pckCrl } = withSimConditions(platform, { revoked }).collateral(AT)
  return [rootCaCrl, pckCrl] as const
}
const lists = listsOf()
const pckListWith = (change: Partial<Parameters<typeof issueCrl>[0]>) => [
  lists[0],
  issueCrl({
    issuer: { commonName: SIM_NAMES.platformCa, key: keys.platformCa },
    ...{ thisUpdate: AT, nextUpdate: new Date(AT.getTime() + DAY), revoked: [], ...change },
  }),
]
const inOrder: Shown = { chain: [pck, platformCa, root], lists, at: AT }
const chained = (...chain: readonly Uint8Array[]): Shown => ({ ...inOrder, chain })
const listed = (...given: readonly Uint8Array[]): Shown => ({ ...inOrder, lists: given })
const flipped = (bytes: Uint8Array) =>
  bytes.map((byte, at) => (at === bytes.length - 1 ? byte ^ 1 : byte))
const critical = { oid: '1.2.3.4', value: Uint8Array.of(5, 0), critical: true }

/** Both refuse, or both accept; what each of them says. */
const AGREED: readonly (readonly [what: string, ours: string, openssl: RegExp, Shown])[] = [
  ['a chain in order', 'OK', /^OK$/, inOrder],
  ['a signer below the root', 'OK', /^OK$/, chained(certificates.tcbSigning, root)],
  ['a revoked leaf', 'REVOKED', /revoked/, { ...inOrder, lists: listsOf('pck') }],
  ['a revoked CA', 'REVOKED', /revoked/, { ...inOrder, lists: listsOf('platformCa') }],
  ['no list of the CA', 'CRL_ISSUER', /unable to get certificate CRL/, listed(lists[0])],
  ['no list of the root', 'CRL_ISSUER', /unable to get certificate CRL/, listed(lists[1])],
  ['a list flipped', 'CRL_SIGNATURE', /CRL signature/, listed(lists[0], flipped(lists[1]))],
  [
    'an old list',
    'CRL_EXPIRED',
    /CRL has expired/,
    listed(
      ...pckListWith({ thisUpdate: new Date('2019-01-01'), nextUpdate: new Date('2019-02-01') }),
    ),
  ],
  [
    'a list of tomorrow',
    'NOT_YET_VALID',
    /CRL is not yet valid/,
    listed(...pckListWith({ thisUpdate: new Date(AT.getTime() + 1000) })),
  ],
  [
    'a list by another key',
    'CRL_SIGNATURE',
    /unable to get certificate CRL/,
    listed(...pckListWith({ issuer: { commonName: SIM_NAMES.platformCa, key: keys.attestation } })),
  ],
  [
    'a list with a critical extension',
    'VALUE',
    /critical/,
    listed(...pckListWith({ extensions: [critical] })),
  ],
  ['a leaf flipped', 'SIGNATURE', /signature failure/, chained(flipped(pck), platformCa, root)],
  ['the CA left out', 'NAME', /unable to get local issuer/, chained(pck, root)],
  [
    'a leaf of yesterday',
    'EXPIRED',
    /expired/,
    chained(leafWith({ notAfter: new Date(AT.getTime() - 1000) }), platformCa, root),
  ],
  [
    'a leaf of tomorrow',
    'NOT_YET_VALID',
    /not yet valid/,
    chained(leafWith({ notBefore: new Date(AT.getTime() + 1000) }), platformCa, root),
  ],
  [
    'a leaf with a critical extension',
    'VALUE',
    /critical/,
    chained(leafWith({ extensions: [critical] }), platformCa, root),
  ],
  ['a CA without the flag', 'NOT_A_CA', /CA/, chained(pck, caWith({}), root)],
  [
    'a CA that does not say what its key is for',
    'NOT_A_CA',
    /usage/i,
    chained(pck, caWith({ pathLen: 0, keyUsage: false }), root),
  ],
  [
    'a CA below one that allows none',
    'LENGTH',
    /path length/,
    chained(
      leafWith({}),
      platformCa,
      issueCertificate({
        ...{ issuer: { commonName: SIM_NAMES.root, key: keys.root }, ...validity },
        ...{ commonName: SIM_NAMES.root, key: keys.root, pathLen: 0 },
      }),
    ),
  ],
]

/** What OpenSSL accepts and this package refuses, and why. */
const STRICTER: readonly (readonly [what: string, ours: string, why: string, Shown])[] = [
  [
    'certificates out of order',
    'NAME',
    'OpenSSL looks for a path among what it is given; the vendors’ chains stand leaf first',
    chained(platformCa, pck, root),
  ],
  [
    'the CA twice',
    'LENGTH',
    'the same: what is no part of the path is passed over there; here it is a CA more than is allowed',
    chained(pck, platformCa, platformCa, root),
  ],
  [
    'a serial twice in a list',
    'VALUE',
    'RFC 5280 section 5.3 has one entry for a certificate; which of two would count?',
    listed(...pckListWith({ revoked: ['11', '11'] })),
  ],
]

describe('beside OpenSSL', () => {
  it.each(AGREED)('%s: both say so', (_what, code, said, shown) => {
    expect([ours(shown), openssl(shown)]).toEqual([code, expect.stringMatching(said)])
  })

  it.each(STRICTER)('%s: refused here alone (%s), as %s', (_what, code, _why, shown) => {
    expect([ours(shown), openssl(shown)]).toEqual([code, 'OK'])
  })
})

describe.skipIf(!HAS_VECTORS)(`the vendor's chains beside OpenSSL${SKIPPED}`, () => {
  const judged = CASES.flatMap(({ name, ...one }) => {
    const collateral = collateralOf({ name, ...one })
    if (collateral === undefined || one.expected.verdict !== 'ok') return []
    const pem =
      collateral.pckCertificateChain ??
      encodePemCertificates(...certificatesInQuote(parseQuote(one.evidence)))
    const chains = [pem, collateral.tcbInfoIssuerChain, collateral.qeIdentityIssuerChain]
    return [{ name, collateral, chains, seconds: one.expected.time }]
  })

  it.each(judged)('$name', { timeout: 60_000 }, ({ chains, collateral, seconds }) => {
    const { rootCaCrl, pckCrl } = collateral
    for (const chain of chains.map(splitPemCertificates)) {
      const shown = { chain, lists: [rootCaCrl, pckCrl], at: new Date(seconds * 1000) }
      expect([ours(shown), openssl(shown)]).toEqual(['OK', 'OK'])
      const later = { ...shown, at: new Date((seconds + 40 * 365 * 24 * 60 * 60) * 1000) }
      expect([ours(later), openssl(later)]).not.toContain('OK')
      const forged = { ...shown, lists: [flipped(rootCaCrl), pckCrl] }
      expect([ours(forged), openssl(forged)]).toEqual([
        'CRL_SIGNATURE',
        expect.stringMatching(/CRL signature/),
      ])
    }
  })
})
