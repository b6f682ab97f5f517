import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { CodedError } from '../errors.ts'
import { acceptedFlips, allOf, seeded } from '../flips.test.support.ts'
import { HAS_VECTORS, SKIPPED, VECTORS } from '../vectors.test.support.ts'
import { AMD_ROOTS, type TrustRoot } from '../verify/roots.ts'
import { readSnpCollateral, verifySnpChain } from '../verify/snp.ts'
import { verifyCollateral } from '../verify/verified-collateral.ts'
import { verifyEvidence } from '../verify-evidence.ts'
import { parseCertificate } from '../x509/certificate.ts'
import { verifyPath } from '../x509/chain.ts'
import { Known } from '../x509/known.ts'
import { parseHclEnvelope } from './hcl.ts'
import { encodeSnpReport, parseSnpReport, SNP_SIGNED_SIZE } from './report.ts'
import { bytesIn, SNP_CASES, SNP_FOLDER, type SnpCase } from './snp-cases.test.support.ts'
import { parseVekExtensions } from './vek.ts'

const SLOW = process.env['SLOW'] === '1'
const CASES = SNP_CASES
const good = CASES.filter(({ expected }) => expected.verdict === 'ok')
const bad = CASES.filter(({ expected }) => expected.verdict === 'error')

function judge(one: SnpCase, roots: readonly TrustRoot[] = AMD_ROOTS, seconds?: number) {
  const at = new Date((seconds ?? one.expected.time) * 1000)
  return verifyEvidence({ evidence: one.evidence, collateral: one.collateral, roots, at })
}

function codeOf(run: () => unknown): string {
  try {
    run()
  } catch (error) {
    if (error instanceof CodedError) return String(error.code)
    throw error
  }
  return 'none'
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

describe.skipIf(!HAS_VECTORS)(
  `verifyEvidence on reports of real SEV-SNP hardware${SKIPPED}`,
  () => {
    it('has cases to judge', () => {
      expect(good.length).toBeGreaterThanOrEqual(7)
      expect(bad.length).toBeGreaterThanOrEqual(2)
    })

    it.each(good)('$name: what the report and the certificate say', one => {
      const { report, tcb, vek, ...claims } = judge(one)
      const { expected } = one
      expect(claims.tee).toBe('sev-snp')
      expect(claims.revocation).toEqual({ checked: false })
      expect(claims.product).toBe('Milan')
      expect([tcb.reported.bootLoader, tcb.reported.tee]).toEqual([
        expected.reportedTcb['blSPL'],
        expected.reportedTcb['teeSPL'],
      ])
      expect([tcb.reported.snp, tcb.reported.microcode]).toEqual([
        expected.reportedTcb['snpSPL'],
        expected.reportedTcb['ucodeSPL'],
      ])
      expect(vek.hwId && hex(vek.hwId)).toBe(expected.vek.ext['hwID'])
      expect(vek.cspId).toBe(expected.vek.ext['cspID'])
      expect({
        version: report.version,
        guestSvn: report.guestSvn,
        policy: `0x${report.policy.toString(16)}`,
        vmpl: report.vmpl,
        signingKey: report.signingKey,
        platformInfo: `0x${report.platformInfo.toString(16)}`,
        reportData: hex(report.reportData),
        measurement: hex(report.measurement),
        hostData: hex(report.hostData),
        idKeyDigest: hex(report.idKeyDigest),
        authorKeyDigest: hex(report.authorKeyDigest),
        familyId: hex(report.familyId),
        imageId: hex(report.imageId),
      }).toEqual({
        version: expected.report['version'],
        guestSvn: expected.report['guestSvn'],
        policy: expected.report['policy'],
        vmpl: expected.report['vmpl'],
        signingKey: expected.report['signingKey'],
        platformInfo: expected.report['platformInfo'],
        reportData: expected.report['reportData'],
        measurement: expected.report['measurement'],
        hostData: expected.report['hostData'],
        idKeyDigest: expected.report['idKeyDigest'],
        authorKeyDigest: expected.report['authorKeyDigest'],
        familyId: expected.report['familyId'],
        imageId: expected.report['imageId'],
      })
    })

    it.each(CASES)('$name: is written as it was read', ({ evidence }) => {
      expect(encodeSnpReport(parseSnpReport(evidence))).toEqual(evidence)
    })

    it.each(bad)('$name: refused', one => {
      expect(codeOf(() => judge(one))).toBe('SIGNATURE')
    })

    it.each(good)('$name: as good from collateral verified before, and dates judged again', one => {
      const { evidence, expected } = one
      const at = new Date(expected.time * 1000)
      const collateral = verifyCollateral({ collateral: one.collateral, roots: AMD_ROOTS, at })
      const again = (when: Date, roots = AMD_ROOTS) =>
        verifyEvidence({ evidence, collateral, roots, at: when })
      expect(again(at)).toEqual(judge(one))
      expect(codeOf(() => again(new Date('2060-01-01')))).toBe('EXPIRED')
      expect(codeOf(() => again(at, []))).toBe('UNTRUSTED_ROOT')
    })

    it.each(good)('$name: refused before and after validity, and under another root', one => {
      const [, genoa] = AMD_ROOTS
      expect(codeOf(() => judge(one, AMD_ROOTS, 0))).toBe('NOT_YET_VALID')
      expect(codeOf(() => judge(one, AMD_ROOTS, 2_800_000_000))).toBe('EXPIRED')
      expect(codeOf(() => judge(one, genoa === undefined ? [] : [genoa]))).toBe('UNTRUSTED_ROOT')
    })

    it.each(good)('$name: the collateral of another chip is refused', one => {
      for (const other of CASES) {
        const { evidence } = other
        const chip = (report: Uint8Array) => hex(parseSnpReport(report).chipId)
        if (chip(evidence) === chip(one.evidence)) continue
        expect(codeOf(() => judge({ ...one, evidence }))).not.toBe('none')
      }
    })

    it('an envelope of Azure’s paravisor binds its runtime data, and holds a report that verifies', () => {
      const path = `${SNP_FOLDER}/milan-v2-azure-hcl`
      const envelope = bytesIn(`${path}/hcl-report.bin`)
      const { report, runtimeData } = parseHclEnvelope(envelope)
      expect(hex(report)).toBe(hex(bytesIn(`${path}/report.bin`)))
      expect(JSON.parse(runtimeData)).toHaveProperty('keys.0.kid', 'HCLAkPub')
      const at = Buffer.from(envelope).indexOf('HCLAkPub')
      envelope[at] = 0x58
      expect(codeOf(() => parseHclEnvelope(envelope))).toBe('LENGTH')
    })

    it('a Turin key is of eight bytes of chip, under the root of Turin', () => {
      const path = `${SNP_FOLDER}/turin-vcek-extensions`
      const vek = parseCertificate(bytesIn(`${path}/vek.der`))
      expect(parseVekExtensions(vek)).toMatchObject({
        kind: 'VCEK',
        product: 'Turin',
        tcb: { fmc: 0, bootLoader: 0, tee: 0, snp: 0, microcode: 9 },
      })
      const known = new Known()
      const chain = [vek, ...known.readChain(readFileSync(`${path}/chain.pem`, 'utf8'))]
      const top = chain.at(-1)
      if (top === undefined) throw new Error('a chain')
      const at = new Date(vek.notBefore.getTime() + 1000)
      expect(codeOf(() => verifyPath(known, { chain, roots: [top.spki], at }, () => {}))).toBe(
        'none',
      )
    })

    it.each(['amd_ask_ark_genoa', 'amd_ask_ark_turin_vlek'])('%s ends in a pinned root', name => {
      const [, ark] = new Known().readChain(readFileSync(`${VECTORS}/roots/${name}.pem`, 'utf8'))
      const keyId = ark && createHash('sha384').update(ark.spki).digest('hex')
      expect(AMD_ROOTS.map(root => hex(root.keyId))).toContain(keyId)
    })

    it.each(good)(
      '$name: no bit of its key’s certificate may change',
      { timeout: 600_000 },
      one => {
        const at = new Date(one.expected.time * 1000)
        const { vek } = one.collateral
        const known = new Known()
        const verify = (changed: Uint8Array, own: Known) =>
          verifySnpChain(
            readSnpCollateral({ ...one.collateral, vek: changed }, own),
            AMD_ROOTS,
            own,
            at,
          )
        verify(vek, known)
        // One whole of each kind of key.
        const whole = SLOW || /gcp$|vlek/.test(one.name)
        const bits = vek.length * 8
        const flips = whole ? allOf(bits) : seeded(bits, 200)
        expect(acceptedFlips(vek, flips, changed => verify(changed, new Known(known)))).toEqual([])
        const cold = (changed: Uint8Array) =>
          verifyCollateral({
            collateral: { ...one.collateral, vek: changed },
            roots: AMD_ROOTS,
            at,
          })
        expect(acceptedFlips(vek, seeded(bits, 50), cold)).toEqual([])
      },
    )

    it.each(good)('$name: no bit of the report may change', { timeout: 600_000 }, one => {
      const { evidence, expected } = one
      const at = new Date(expected.time * 1000)
      const collateral = verifyCollateral({ collateral: one.collateral, roots: AMD_ROOTS, at })
      const whole = SLOW || one === good[0]
      const flips = whole ? allOf(evidence.length * 8) : seeded(SNP_SIGNED_SIZE * 8, 300)
      const verify = (changed: Uint8Array) =>
        verifyEvidence({ evidence: changed, collateral, roots: AMD_ROOTS, at })
      expect(acceptedFlips(evidence, flips, verify)).toEqual([])
    })
  },
)
