import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CodedError } from '../errors.ts'
import { acceptedFlips, allOf, seeded } from '../flips.test.support.ts'
import { type CertificateFields, issueCertificate, spkiOf } from '../sim/certificate-writer.ts'
import { createSimSnpPlatform } from '../sim/snp-platform.ts'
import { readSnpCollateral, verifySnpChain } from '../verify/snp.ts'
import { verifyCollateral } from '../verify/verified-collateral.ts'
import { verifyEvidence } from '../verify-evidence.ts'
import { parseCertificate } from '../x509/certificate.ts'
import { TAG } from '../x509/der.ts'
import { der } from '../x509/der-writer.ts'
import { Known } from '../x509/known.ts'
import { encodePemCertificates, splitPemCertificates } from '../x509/pem.ts'
import { encodeSnpCertificateTable, parseSnpCertificateTable } from './certificate-table.ts'
import type { SnpCollateral } from './collateral.ts'
import { isHclEnvelope, parseHclEnvelope } from './hcl.ts'
import { encodeSnpReport, encodeSnpSignedPart, type SnpReport } from './report.ts'
import { VEK_EXTENSIONS } from './vek.ts'

const AT = new Date('2026-03-01T00:00:00Z')
const DAY = 24 * 60 * 60 * 1000
const validity = { notBefore: new Date(AT.getTime() - DAY), notAfter: new Date(AT.getTime() + DAY) }
const platform = createSimSnpPlatform({ createdAt: validity.notBefore })
const collateral = platform.collateral(AT)
const roots = [platform.trustRoot]
const crl = collateral.crl as Uint8Array
const [ask = crl, ark = crl] = splitPemCertificates(collateral.chain)

const verified = (change: Partial<SnpCollateral>) => () =>
  verifyCollateral({ collateral: { ...collateral, ...change }, roots, at: AT })

function codeOf(run: () => unknown): string {
  try {
    run()
  } catch (error) {
    if (error instanceof CodedError) return String(error.code)
    throw error
  }
  return 'none'
}

/** Each offset or bit at which a changed document is accepted. */
function accepted(length: number, run: (at: number) => () => unknown): readonly number[] {
  return Array.from({ length }, (_, at) => at).filter(at => codeOf(run(at)) === 'none')
}

function flipped(bytes: Uint8Array, bit: number): Uint8Array {
  const changed = bytes.slice()
  changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7))
  return changed
}

describe('collateral of SEV-SNP in which one bit is changed', () => {
  const documents: readonly (readonly [
    string,
    Uint8Array,
    (one: Uint8Array) => Partial<SnpCollateral>,
  ])[] = [
    ['the key’s certificate', collateral.vek, vek => ({ vek })],
    ['the intermediate', ask, one => ({ chain: encodePemCertificates(one, ark) })],
    ['the root', ark, one => ({ chain: encodePemCertificates(ask, one) })],
    ['the revocation list', crl, list => ({ crl: list })],
  ]

  it.each(documents)('is refused: %s', { timeout: 120_000 }, (_what, whole, put) => {
    const verify = (change: Partial<SnpCollateral>, known: Known) => {
      const source = { ...collateral, ...change }
      return verifySnpChain(readSnpCollateral(source, known), roots, known, AT)
    }
    const known = new Known()
    verify(put(whole), known)
    const bits = whole.length * 8
    const fast = (changed: Uint8Array) => verify(put(changed), new Known(known))
    expect(acceptedFlips(whole, allOf(bits), fast)).toEqual([])
    // The same with nothing known beforehand.
    const cold = (changed: Uint8Array) => verified(put(changed))()
    expect(acceptedFlips(whole, seeded(bits, 50), cold)).toEqual([])
  })

  it.each(documents)('or that is cut, or goes on, is refused: %s', (_what, whole, put) => {
    expect(accepted(whole.length, end => verified(put(whole.subarray(0, end))))).toEqual([])
    expect(codeOf(verified(put(Buffer.concat([whole, Uint8Array.of(0)]))))).toBe('TRAILING_BYTES')
  })
})

describe('collateral of SEV-SNP that lacks something', () => {
  const without = { crl: undefined, vek: undefined } as const
  it.each(['crl', 'vek'] as const)('is refused without %s, which is no way to opt out', field => {
    const lacking = { [field]: without[field] } as unknown as Partial<SnpCollateral>
    expect(codeOf(verified(lacking))).toBe('FORMAT')
    const other = { [field]: 'unchecked' } as unknown as Partial<SnpCollateral>
    expect(codeOf(verified(other))).toBe('FORMAT')
  })
})

describe('what was verified', () => {
  it('stays, whatever the caller does to its buffers afterwards', () => {
    const evidence = Buffer.from(platform.report({}))
    const own = { ...collateral, vek: Buffer.from(collateral.vek), crl: Buffer.from(crl) }
    const cold = verifyEvidence({ evidence, collateral: own, roots, at: AT })
    const before = structuredClone(cold)
    const kept = verifyCollateral({ collateral: own, roots, at: AT })
    for (const bytes of [evidence, own.vek, own.crl]) bytes.fill(0x41)
    expect(cold).toEqual(before)
    const again = { evidence: platform.report({}), collateral: kept, roots, at: AT }
    expect(verifyEvidence(again).verifiedAt).toEqual(AT)
    expect(kept).toMatchObject({ hwId: before.vek.hwId })
  })
})

describe('a chain of a foreign make', () => {
  const rsa = () => generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
  const ec = (namedCurve: string) => generateKeyPairSync('ec', { namedCurve }).privateKey
  const rootKey = rsa()
  const root = { commonName: 'Cloister Simulated ARK-Milan', key: rootKey }
  const middle = { commonName: 'Cloister Simulated SEV-Milan', key: rsa() }
  const leafKey = ec('P-384')
  const vekExtensions = parseCertificate(collateral.vek).extensions.filter(({ oid }) =>
    oid.startsWith(VEK_EXTENSIONS),
  )
  const ofRoot = { ...validity, ...root, issuer: root, pathLen: 1 }
  const ofMiddle = { ...validity, ...middle, issuer: root, pathLen: 0 }
  const ofLeaf = {
    ...validity,
    ...{ commonName: 'Cloister Simulated SEV-VCEK', key: leafKey, issuer: middle },
    extensions: vekExtensions,
  }
  const keyId = (key: KeyObject) =>
    new Uint8Array(createHash('sha384').update(spkiOf(key)).digest())
  const pinned = [{ kind: 'sim-snp', product: 'Milan', keyId: keyId(rootKey) }] as const

  interface Made {
    readonly root?: Partial<CertificateFields>
    readonly middle?: Partial<CertificateFields>
    readonly leaf?: Partial<CertificateFields>
    readonly signer?: KeyObject
  }

  function judge({ signer = leafKey, ...made }: Made): string {
    const report: Omit<SnpReport, 'signature'> = platform.defaults
    const signature =
      signer.asymmetricKeyType === 'ec'
        ? sign('sha384', encodeSnpSignedPart(report), { key: signer, dsaEncoding: 'ieee-p1363' })
        : new Uint8Array(96)
    const padded = signature.length === 96 ? signature : new Uint8Array(96).fill(1)
    const given = {
      vek: issueCertificate({ ...ofLeaf, ...made.leaf }),
      chain: encodePemCertificates(
        issueCertificate({ ...ofMiddle, ...made.middle }),
        issueCertificate({ ...ofRoot, ...made.root }),
      ),
      crl: 'revocation-unchecked',
    } as const
    const evidence = encodeSnpReport({ ...report, signature: padded })
    return codeOf(() => verifyEvidence({ evidence, collateral: given, roots: pinned, at: AT }))
  }

  const { pathLen: _root, ...rootNoCa } = ofRoot
  const { pathLen: _middle, ...middleNoCa } = ofMiddle
  const impostor = { commonName: root.commonName, key: rsa() }
  const p256 = ec('P-256')

  it('verifies when all of it is in order', () => {
    expect(judge({})).toBe('none')
  })

  /** AMD's extensions, with the chip's id written otherwise. */
  const identified = (write: (hwId: Uint8Array) => Uint8Array) =>
    vekExtensions.map(({ oid, value }) =>
      oid === `${VEK_EXTENSIONS}.4` ? { oid, value: write(value) } : { oid, value },
    )
  const wrapped = (hwId: Uint8Array) => der(TAG.octetString, hwId)

  it('verifies with the id of the chip as bytes alone or as an OCTET STRING', () => {
    expect(judge({ leaf: { extensions: identified(hwId => hwId) } })).toBe('none')
    expect(judge({ leaf: { extensions: identified(wrapped) } })).toBe('none')
    const other = (hwId: Uint8Array) => wrapped(hwId.map(byte => byte ^ 1))
    expect(judge({ leaf: { extensions: identified(other) } })).toBe('CHIP_ID')
    const cut = (hwId: Uint8Array) => wrapped(hwId.slice(1))
    expect(judge({ leaf: { extensions: identified(cut) } })).toBe('VALUE')
    const twice = (hwId: Uint8Array) => wrapped(wrapped(hwId))
    expect(judge({ leaf: { extensions: identified(twice) } })).toBe('VALUE')
  })

  const refused: readonly (readonly [string, () => string, string])[] = [
    ['a root of the right name and another key', () => judge({ root: impostor }), 'UNTRUSTED_ROOT'],
    ['a root that another key signed', () => judge({ root: { issuer: impostor } }), 'SIGNATURE'],
    ['an intermediate of another root', () => judge({ middle: { issuer: impostor } }), 'SIGNATURE'],
    ['an intermediate that signed itself', () => judge({ middle: { issuer: middle } }), 'NAME'],
    [
      'a key that signed itself',
      () => judge({ leaf: { issuer: { ...middle, key: rsa() } } }),
      'SIGNATURE',
    ],
    ['a root that allows no intermediate', () => judge({ root: { pathLen: 0 } }), 'LENGTH'],
    ['a key that the root signed', () => judge({ leaf: { issuer: root } }), 'NAME'],
    ['a key without AMD’s extensions', () => judge({ leaf: { extensions: [] } }), 'VALUE'],
    ['a key of another name', () => judge({ leaf: { commonName: 'SEV-VCEK2' } }), 'VALUE'],
    [
      'a key of a VLEK’s name with a chip’s id',
      () => judge({ leaf: { commonName: 'SEV-VLEK' } }),
      'VALUE',
    ],
    ['a key of P-256', () => judge({ leaf: { key: p256 }, signer: p256 }), 'KEY'],
    ['a key of RSA', () => judge({ leaf: { key: rootKey } }), 'KEY'],
    [
      'a report that the intermediate’s owner signed',
      () => judge({ signer: ec('P-384') }),
      'REPORT_SIGNATURE',
    ],
    [
      'an intermediate that has expired',
      () => judge({ middle: { notAfter: validity.notBefore } }),
      'EXPIRED',
    ],
    [
      'a key that is not valid yet',
      () => judge({ leaf: { notBefore: validity.notAfter } }),
      'NOT_YET_VALID',
    ],
  ]
  it.each(refused)('is refused with %s', (_what, run, code) => {
    expect(run()).toBe(code)
  })

  it('is refused where a signer is no CA', () => {
    const asNoCa = (fields: Omit<CertificateFields, 'pathLen'>) => issueCertificate(fields)
    const vek = issueCertificate(ofLeaf)
    const judgeChain = (chain: string) =>
      codeOf(() =>
        verifyEvidence({
          evidence: platform.report({}),
          collateral: { vek, chain, crl: 'revocation-unchecked' },
          roots: pinned,
          at: AT,
        }),
      )
    expect(judgeChain(encodePemCertificates(asNoCa(middleNoCa), issueCertificate(ofRoot)))).toBe(
      'NOT_A_CA',
    )
    expect(judgeChain(encodePemCertificates(issueCertificate(ofMiddle), asNoCa(rootNoCa)))).toBe(
      'NOT_A_CA',
    )
  })
})

describe('a certificate table from a hostile host', () => {
  const certificate = fc.uint8Array({ minLength: 1, maxLength: 200 })
  const tables = fc.record(
    { vcek: certificate, vlek: certificate, ask: certificate, ark: certificate, crl: certificate },
    { requiredKeys: [] },
  )

  it('is read as it was written, and refused cut at any byte of its entries', () => {
    fc.assert(
      fc.property(tables, table => {
        const bytes = encodeSnpCertificateTable(table)
        expect(parseSnpCertificateTable(bytes)).toEqual(table)
        for (let end = 0; end < bytes.length; end++) {
          expect(codeOf(() => parseSnpCertificateTable(bytes.subarray(0, end)))).not.toBe('none')
        }
      }),
    )
  })

  it('is refused where a certificate lies in the entries, is empty, or its end is not zero', () => {
    const bytes = encodeSnpCertificateTable({ vcek: ask, ask: ark })
    const changed = (at: number, value: number) => {
      const copy = bytes.slice()
      new DataView(copy.buffer).setUint32(at, value, true)
      return codeOf(() => parseSnpCertificateTable(copy))
    }
    expect(changed(16, 0)).toBe('LENGTH')
    expect(changed(16, 24)).toBe('LENGTH')
    expect(changed(16, 71)).toBe('LENGTH')
    expect(changed(20, 0)).toBe('LENGTH')
    expect(changed(20, 0xffffffff)).toBe('LENGTH')
    expect(changed(64, 1)).toBe('RESERVED')
    expect(changed(68, 1)).toBe('RESERVED')
    expect(codeOf(() => encodeSnpCertificateTable({ vcek: new Uint8Array() }))).toBe('LENGTH')
    expect(codeOf(() => encodeSnpCertificateTable({ crl: new Uint8Array(1 << 16) }))).toBe('LIMIT')
  })
})

describe('an HCL envelope', () => {
  /** As Azure's paravisor writes one over these runtime data. */
  function envelope(
    data: Uint8Array,
    { kind = 2, hash = 1, version = 1, more = 0, extra = 0 } = {},
  ) {
    const algorithm = ['sha256', 'sha384', 'sha512'][hash - 1] ?? 'sha256'
    const reportData = new Uint8Array(64)
    reportData.set(createHash(algorithm).update(data).digest())
    const header = Buffer.alloc(32)
    header.write('HCLA')
    const runtime = Buffer.alloc(20)
    for (const [index, value] of [
      data.length + 20 + more + extra,
      version,
      kind,
      hash,
      data.length,
    ].entries()) {
      runtime.writeUInt32LE(value, 4 * index)
    }
    const capabilities = Buffer.alloc(more, 7)
    return Buffer.concat([header, platform.report({ reportData }), runtime, capabilities, data])
  }
  const json = Buffer.from('{"keys":[{"kid":"HCLAkPub"}]}')

  it.each([1, 2, 3])('binds its runtime data by hash %i, whatever follows', hash => {
    const whole = envelope(json, { hash })
    expect(isHclEnvelope(whole)).toBe(true)
    expect(parseHclEnvelope(Buffer.concat([whole, Buffer.alloc(99)]))).toEqual({
      report: new Uint8Array(whole.subarray(32, 32 + 1184)),
      runtimeData: json.toString(),
    })
  })

  it.each([2, 3])('of version %i has four bytes before its runtime data', version => {
    const whole = envelope(json, { version, more: 4 })
    expect(parseHclEnvelope(whole).runtimeData).toBe(json.toString())
    expect(codeOf(() => parseHclEnvelope(envelope(json, { version })))).toBe('LENGTH')
    expect(codeOf(() => parseHclEnvelope(envelope(json, { more: 4 })))).toBe('LENGTH')
  })

  it('of a trust domain says what to give in its place', () => {
    expect(() => parseHclEnvelope(envelope(json, { kind: 4 }))).toThrow(/TDX.*quote/)
  })

  it('is refused cut at any byte', () => {
    const whole = envelope(json)
    expect(accepted(whole.length, end => () => parseHclEnvelope(whole.subarray(0, end)))).toEqual(
      [],
    )
  })

  it('is refused with any bit of its runtime data changed', () => {
    const whole = envelope(json)
    const start = whole.length - json.length
    const run = (bit: number) => () =>
      parseHclEnvelope(flipped(new Uint8Array(whole), start * 8 + bit))
    expect(accepted(json.length * 8, run)).toEqual([])
  })

  it.each([
    ['of another TEE', { kind: 4 }, 'TEE_TYPE'],
    ['with an unknown hash', { hash: 4 }, 'KEY_TYPE'],
    ['whose sizes differ', { extra: 1 }, 'LENGTH'],
  ] as const)('is refused %s', (_what, change, code) => {
    expect(codeOf(() => parseHclEnvelope(envelope(json, change)))).toBe(code)
  })

  it('is refused with runtime data that are no text', () => {
    expect(codeOf(() => parseHclEnvelope(envelope(Buffer.from([0x7b, 0xff, 0x7d]))))).toBe(
      'RESERVED',
    )
  })
})

describe('a report that is too long', () => {
  it('is refused before it is copied', () => {
    const evidence = new Uint8Array(64 << 20)
    evidence[0] = 2
    const before = process.memoryUsage().arrayBuffers
    expect(codeOf(() => verifyEvidence({ evidence, collateral, roots, at: AT }))).toBe('LENGTH')
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(32 << 20)
  })
})
