import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { acceptedFlips, every, seeded } from '../flips.test.support.ts'
import { type Certificate, parseCertificate } from './certificate.ts'
import { ChainError, verifyChain, verifyChainKnowing, verifyCrl } from './chain.ts'
import { type CertificateRevocationList, parseCrl } from './crl.ts'
import { DerError } from './der.ts'
import { Known } from './known.ts'
import { splitPemCertificates } from './pem.ts'

const CONFIG = `
[req]
distinguished_name = dn
[dn]
[ca]
default_ca = db
[db]
database = index.txt
crlnumber = crlnumber
default_md = sha256
default_crl_days = 10
crl_extensions = crl
[crl]
authorityKeyIdentifier = keyid
[root]
basicConstraints = critical,CA:TRUE,pathlen:1
keyUsage = critical,keyCertSign,cRLSign
[ca0]
basicConstraints = critical,CA:TRUE,pathlen:0
keyUsage = critical,keyCertSign,cRLSign
[nosign]
basicConstraints = critical,CA:TRUE
keyUsage = critical,digitalSignature
[leaf]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
[strange]
1.2.3.4 = critical,DER:0500
`

const DAY = 24 * 60 * 60 * 1000
let folder = ''
const openssl = (...args: string[]): void => {
  execFileSync('openssl', args, { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] })
}
const der = (name: string): Uint8Array => {
  const [bytes] = splitPemCertificates(readFileSync(join(folder, `${name}.pem`)))
  if (bytes === undefined) throw new Error('no certificate')
  return bytes
}
const cert = (name: string): Certificate => parseCertificate(der(name))

const key = (name: string): void => {
  openssl('ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', `${name}.key`)
}
const root = (name: string, subject: string): void => {
  key(name)
  openssl(
    ...['req', '-x509', '-new', '-key', `${name}.key`, '-sha256', '-days', '100'],
    ...['-subj', subject, '-config', 'c.cnf', '-extensions', 'root', '-out', `${name}.pem`],
  )
}
const issue = (name: string, issuer: string, section: string, serial: number): void => {
  key(name)
  openssl(
    ...['req', '-new', '-key', `${name}.key`, '-subj', `/CN=${name}`, '-config', 'c.cnf'],
    ...['-out', `${name}.csr`],
  )
  openssl(
    ...['x509', '-req', '-in', `${name}.csr`, '-CA', `${issuer}.pem`, '-CAkey', `${issuer}.key`],
    ...['-set_serial', `${serial}`, '-days', '50', '-sha256', '-extfile', 'c.cnf'],
    ...['-extensions', section, '-out', `${name}.pem`],
  )
}
const crl = (issuer: string, revoked: string[]): CertificateRevocationList => {
  writeFileSync(join(folder, 'index.txt'), '')
  writeFileSync(join(folder, 'crlnumber'), '01\n')
  const ca = ['-config', 'c.cnf', '-cert', `${issuer}.pem`, '-keyfile', `${issuer}.key`]
  for (const name of revoked) openssl('ca', ...ca, '-revoke', `${name}.pem`)
  openssl('ca', ...ca, '-gencrl', '-out', 'crl.pem')
  openssl('crl', '-in', 'crl.pem', '-outform', 'DER', '-out', 'crl.der')
  return parseCrl(new Uint8Array(readFileSync(join(folder, 'crl.der'))))
}
const codeOf = (run: () => unknown): string => {
  try {
    run()
  } catch (error) {
    if (error instanceof ChainError || error instanceof DerError) return error.code
    throw error
  }
  return 'none'
}

describe('certificates made by OpenSSL', () => {
  let at = new Date()
  let rootCrl: CertificateRevocationList
  let caCrl: CertificateRevocationList
  const check = (names: string[], change: Partial<Parameters<typeof verifyChain>[0]> = {}) =>
    codeOf(() =>
      verifyChain({
        chain: names.map(cert),
        roots: [cert('root').spki],
        crls: [rootCrl, caCrl],
        at,
        ...change,
      }),
    )

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'cloister-x509-'))
    writeFileSync(join(folder, 'c.cnf'), CONFIG)
    root('root', '/CN=root')
    root('twin', '/CN=root')
    issue('ca', 'root', 'ca0', 2)
    issue('leaf', 'ca', 'leaf', 3)
    // Another CA of the same name, and a leaf it signs: right name, wrong key.
    const real = readFileSync(join(folder, 'ca.pem'))
    const realKey = readFileSync(join(folder, 'ca.key'))
    issue('ca', 'twin', 'ca0', 2)
    issue('forged', 'ca', 'leaf', 4)
    writeFileSync(join(folder, 'ca.pem'), real)
    writeFileSync(join(folder, 'ca.key'), realKey)
    issue('subca', 'ca', 'ca0', 5)
    issue('deep', 'subca', 'leaf', 6)
    issue('notca', 'root', 'leaf', 7)
    issue('under-notca', 'notca', 'leaf', 8)
    issue('nosign', 'root', 'nosign', 9)
    issue('under-nosign', 'nosign', 'leaf', 10)
    issue('strange', 'root', 'strange', 11)
    rootCrl = crl('root', [])
    caCrl = crl('ca', [])
    at = new Date(Date.now() + 60_000)
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  it('reads the fields', () => {
    const ca = cert('ca')
    expect(ca.subject.commonName).toBe('ca')
    expect(ca.issuer.commonName).toBe('root')
    expect(ca.serial).toBe('02')
    expect([ca.isCa, ca.pathLen]).toEqual([true, 0])
    expect([...(ca.keyUsage ?? [])]).toEqual(['keyCertSign', 'cRLSign'])
    expect([cert('leaf').isCa, cert('leaf').pathLen]).toEqual([false, undefined])
  })

  it('accepts a good chain', () => {
    expect(check(['leaf', 'ca', 'root'])).toBe('none')
    expect(check(['ca', 'root'])).toBe('none')
  })

  it('pins the root by its key', () => {
    expect(check(['leaf', 'ca', 'twin'])).toBe('UNTRUSTED_ROOT')
    expect(check(['leaf', 'ca'])).toBe('UNTRUSTED_ROOT')
    expect(check(['leaf', 'ca', 'root'], { roots: [] })).toBe('UNTRUSTED_ROOT')
    expect(check(['leaf', 'ca', 'twin'], { roots: [cert('twin').spki] })).toBe('SIGNATURE')
    // A pinned key at the end of the chain must still be a self-signed root.
    expect(check(['leaf', 'ca'], { roots: [cert('ca').spki] })).toBe('NAME')
  })

  it('wants two to ten certificates', () => {
    expect(check([])).toBe('LENGTH')
    expect(check(['root'])).toBe('LENGTH')
    expect(check(Array.from({ length: 11 }, () => 'root'))).toBe('LENGTH')
  })

  it('refuses a wrong key, order, authority or path length', () => {
    expect(check(['forged', 'ca', 'root'])).toBe('SIGNATURE')
    expect(check(['leaf', 'root'])).toBe('NAME')
    expect(check(['under-notca', 'notca', 'root'])).toBe('NOT_A_CA')
    expect(check(['under-nosign', 'nosign', 'root'])).toBe('NOT_A_CA')
    expect(check(['deep', 'subca', 'ca', 'root'])).toBe('LENGTH')
  })

  it('judges at the time given', () => {
    const chain = ['leaf', 'ca', 'root']
    expect(check(chain, { at: new Date(at.getTime() - DAY) })).toBe('NOT_YET_VALID')
    expect(check(chain, { at: new Date(at.getTime() + 11 * DAY) })).toBe('CRL_EXPIRED')
    expect(check(chain, { at: new Date(at.getTime() + 101 * DAY) })).toBe('EXPIRED')
    expect(check(chain, { at: new Date(Number.NaN) })).toBe('NOT_YET_VALID')
  })

  it('fails closed on revocation', () => {
    const chain = ['leaf', 'ca', 'root']
    expect(check(chain, { crls: [] })).toBe('CRL_ISSUER')
    expect(check(chain, { crls: [rootCrl] })).toBe('CRL_ISSUER')
    expect(check(chain, { crls: [caCrl] })).toBe('CRL_ISSUER')
    expect(check(chain, { crls: [rootCrl, crl('ca', ['leaf'])] })).toBe('REVOKED')
    expect(check(chain, { crls: [rootCrl, caCrl, crl('ca', ['leaf'])] })).toBe('REVOKED')
    expect(check(chain, { crls: [crl('root', ['ca']), caCrl] })).toBe('REVOKED')
    expect(check(chain, { crls: [rootCrl, crl('ca', ['deep'])] })).toBe('none')
    const forged = crl('twin', [])
    expect(check(chain, { crls: [forged, caCrl] })).toBe('CRL_SIGNATURE')
    const verify = (issuer: string) =>
      codeOf(() => verifyCrl({ crl: caCrl, issuer: cert(issuer), at }))
    expect([verify('ca'), verify('root')]).toEqual(['none', 'CRL_ISSUER'])
    const early = new Date(caCrl.thisUpdate.getTime() - 1)
    const run = () => verifyCrl({ crl: caCrl, issuer: cert('ca'), at: early })
    expect(codeOf(run)).toBe('NOT_YET_VALID')
    const issuer = { ...cert('ca'), keyUsage: new Set(['keyCertSign'] as const) }
    expect(codeOf(() => verifyCrl({ crl: caCrl, issuer, at }))).toBe('CRL_ISSUER')
  })

  it('refuses critical extensions it does not know', () => {
    expect(() => cert('strange')).toThrow(DerError)
  })

  it('refuses every truncation and extension of a certificate and a CRL', () => {
    const list = new Uint8Array(readFileSync(join(folder, 'crl.der')))
    for (const [bytes, parse] of [
      [der('leaf'), parseCertificate],
      [list, parseCrl],
    ] as const) {
      for (let end = 0; end < bytes.length; end++) {
        expect(() => parse(bytes.subarray(0, end))).toThrow(DerError)
      }
      expect(() => parse(new Uint8Array([...bytes, 0]))).toThrow(DerError)
    }
  })

  it('refuses every flipped bit of a leaf', () => {
    const good = der('leaf')
    const [ca, top] = [cert('ca'), cert('root')]
    const known = new Known()
    const verify = (leaf: Uint8Array, own: Known) =>
      verifyChainKnowing(own, {
        ...{ chain: [parseCertificate(leaf), ca, top], roots: [top.spki] },
        ...{ crls: [rootCrl, caCrl], at },
      })
    verify(good, known)
    const fast = (changed: Uint8Array) => verify(changed, new Known(known))
    expect(acceptedFlips(good, every(good.length * 8), fast)).toEqual([])
    const cold = (changed: Uint8Array) => verify(changed, new Known())
    expect(acceptedFlips(good, seeded(good.length * 8, 50), cold)).toEqual([])
  })

  it('splits PEM strictly but for white space', () => {
    const pem = readFileSync(join(folder, 'leaf.pem'), 'utf8')
    const count = (text: string) => splitPemCertificates(text).length
    expect(count(pem + pem)).toBe(2)
    expect(count(`${pem}\n${pem.trimEnd()}\0`)).toBe(2)
    expect(count(pem.replaceAll('\n', '\r\n'))).toBe(1)
    expect(count(pem.repeat(10))).toBe(10)
    // White space says nothing: some tools write none between two, or blanks at the end of lines.
    expect(count(pem.trimEnd() + pem)).toBe(2)
    expect(count(`\r\n ${pem.replaceAll('\n', ' \t\n')}\f\v\0\0`)).toBe(1)
    expect(count(pem.replace(/\n(?!-)/g, '').replaceAll('-----M', '-----\nM'))).toBe(1)
    for (const bad of [
      '',
      '\0',
      `x${pem}`,
      `${pem}x`,
      `${pem}\0${pem}`,
      pem.repeat(11),
      pem.replace('-----END CERTIFICATE-----', ''),
      pem.replaceAll('CERTIFICATE', 'PRIVATE KEY'),
      pem.replace('MII', 'M!I'),
      `subject=CN\n${pem}`,
      pem.replace('-----BEGIN', '----BEGIN'),
      pem.replace('-----END', '---END'),
      pem.replaceAll('-----BEGIN CERTIFICATE-----', '-----BEGIN CERTIFICATE----- x'),
      pem.replace('\n-----END', '=\n-----END'),
      `${pem}\u00a0`,
      `${pem}\u2028${pem}`,
    ]) {
      expect(() => splitPemCertificates(bad)).toThrow(DerError)
    }
  })

  it('gives a value or a DerError for any overwritten certificate', () => {
    const good = der('ca')
    fc.assert(
      fc.property(fc.nat(good.length - 1), fc.uint8Array({ maxLength: 8 }), (offset, bytes) => {
        const bad = good.slice()
        bad.set(bytes.subarray(0, bad.length - offset), offset)
        codeOf(() => parseCertificate(bad))
      }),
    )
  })
})
