import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parseCertificate } from './certificate.ts'
import { isRevoked, verifyChain, verifyCrl } from './chain.ts'
import { parseCrl } from './crl.ts'
import { parsePckExtension } from './pck.ts'
import { splitPemCertificates } from './pem.ts'

const REPO = join(import.meta.dirname, '../../../..')
const VECTORS = join(
  process.env['CLOISTER_VECTORS'] ?? join(REPO, '../shared/vectors'),
  'attestation',
)
const present = existsSync(VECTORS)
if (!present) console.warn(`SKIPPED: no attestation vectors at ${VECTORS}`)

const cases = present
  ? readdirSync(join(VECTORS, 'sgx')).filter(name =>
      existsSync(join(VECTORS, 'sgx', name, 'collateral.json')),
    )
  : []
const json = (name: string, file: string): Record<string, unknown> =>
  JSON.parse(readFileSync(join(VECTORS, 'sgx', name, file), 'utf8'))
const text = (value: unknown): string => {
  if (typeof value !== 'string') throw new Error('not a string')
  return value
}
const bytes = (value: unknown): Uint8Array => new Uint8Array(Buffer.from(text(value), 'hex'))
const hex = (value: Uint8Array): string => Buffer.from(value).toString('hex')

describe.skipIf(!present)('Intel certificates', () => {
  const intelRoot = () =>
    parseCertificate(readFileSync(join(VECTORS, 'roots/intel_sgx_root_ca.der')))

  it('reads the root', () => {
    const root = intelRoot()
    expect(root.subject.commonName).toBe('Intel SGX Root CA')
    expect([root.isCa, root.pathLen]).toEqual([true, 1])
    expect(root.notAfter.toISOString()).toBe('2049-12-31T23:59:59.000Z')
  })

  it.each(cases)('verifies %s', name => {
    const collateral = json(name, 'collateral.json')
    const expected = json(name, 'expected.json')
    const at = new Date(Number(expected['time']) * 1000)
    const chain = splitPemCertificates(text(collateral['pck_crl_issuer_chain'])).map(
      parseCertificate,
    )
    const rootCrl = parseCrl(bytes(collateral['root_ca_crl']))
    const pckCrl = parseCrl(bytes(collateral['pck_crl']))
    const [issuer, top] = chain
    if (issuer === undefined || top === undefined) throw new Error('short chain')
    const roots = [name.startsWith('own-root') ? top.spki : intelRoot().spki]
    verifyChain({ chain, roots, crls: [rootCrl], at })
    verifyCrl({ crl: pckCrl, issuer, at })

    const quote = readFileSync(join(VECTORS, 'sgx', name, 'quote.bin'))
    const start = quote.indexOf('-----BEGIN CERTIFICATE-----')
    if (start < 0) return
    const pck = splitPemCertificates(quote.subarray(start)).map(parseCertificate)
    const [leaf] = pck
    if (leaf === undefined) throw new Error('no leaf')
    verifyChain({ chain: pck, roots, crls: [rootCrl, pckCrl], at })
    expect(isRevoked(pckCrl, leaf)).toBe(false)
    const found = parsePckExtension(leaf)
    expect(found.tcbComponents).toHaveLength(16)
    const facts = {
      ppid: hex(found.ppid),
      pcesvn: found.pcesvn,
      cpusvn: hex(found.cpusvn),
      pceid: hex(found.pceid),
      fmspc: hex(found.fmspc),
      sgxType: found.sgxType,
      ...(found.platformInstanceId && { platformInstanceId: hex(found.platformInstanceId) }),
      ...(found.configuration && { configuration: found.configuration }),
      issuer: leaf.issuer.commonName,
    }
    expect(facts).toEqual(expected['pck'])
  })
  it('refuses the altered intermediate of negative-openenclave-bad-report', () => {
    const quote = readFileSync(join(VECTORS, 'sgx/negative-openenclave-bad-report/quote.bin'))
    const start = quote.indexOf('-----BEGIN CERTIFICATE-----')
    const run = () => {
      const chain = splitPemCertificates(quote.subarray(start)).map(parseCertificate)
      const at = new Date('2022-01-01')
      verifyChain({ chain, roots: [intelRoot().spki], crls: [], at })
    }
    expect(run).toThrow(expect.objectContaining({ code: 'SIGNATURE' }))
  })
})
