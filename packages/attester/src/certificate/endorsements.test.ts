import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { createServer } from 'node:tls'
import { type Collateral, INTEL_ROOT, verifyEvidence } from '@cloister/attestation'
import { encode, Tagged } from 'cborg'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { AttestedCertificateError } from '../errors.ts'
import { connectAttested } from '../tls/connect.ts'
import {
  certificateFile,
  HAS_VECTORS,
  iceLakeCollateral,
  pemOf,
  SKIPPED,
} from '../vectors.test.support.ts'
import { AT, ENCLAVE, issueWith, simWorld } from '../world.test.support.ts'
import { parseAttestedCertificate } from './attested-certificate.ts'
import { encodeKeyClaims, INTEROPERABLE_OID } from './conceptual-message.ts'
import { ENDORSEMENTS_OID, parseEndorsements } from './endorsements.ts'
import { boundReportData } from './legacy.test.support.ts'

const { platform, requirements } = simWorld()
const collateral = platform.collateral(AT)
const code = (wanted: string) =>
  expect.objectContaining({ name: AttestedCertificateError.name, code: wanted })
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
const ascii = (text: string, end = '') => new Uint8Array(Buffer.from(`${text}${end}`, 'latin1'))
const document = (member: string, text: string, signature: Uint8Array) =>
  `{"${member}":${text},"signature":"${hex(signature)}"}`

interface Writer {
  /** What ends each text. */
  readonly end?: '\0'
  readonly list?: (der: Uint8Array) => Uint8Array
}

/** Documents in the order of Open Enclave's `oe_sgx_endorsements_fields_t`, after the version. */
function documents(of: Collateral, { end, list = der => der }: Writer = {}) {
  const tcbInfo = document('tcbInfo', of.tcbInfo, of.tcbInfoSignature)
  const identity = document('enclaveIdentity', of.qeIdentity, of.qeIdentitySignature)
  return [
    ascii(tcbInfo, end),
    ascii(of.tcbInfoIssuerChain, end),
    list(of.pckCrl),
    list(of.rootCaCrl),
    ascii(of.pckCrlIssuerChain, end),
    ascii(identity, end),
    ascii(of.qeIdentityIssuerChain, end),
  ] as const
}

const endorsements = (...members: readonly unknown[]) => encode(new Tagged(60000, members))

describe('endorsements', () => {
  const nul = (bytes: Uint8Array) => new Uint8Array([...bytes, 0])
  const pem = (der: Uint8Array) =>
    ascii(
      `-----BEGIN X509 CRL-----\n${Buffer.from(der).toString('base64')}\n-----END X509 CRL-----\n`,
    )

  it.each<[string, Writer]>([
    ['lists as DER', {}],
    ['lists as DER with a NUL, as all else', { end: '\0', list: nul }],
    ['lists in hexadecimal', { end: '\0', list: der => ascii(hex(der), '\0') }],
    ['lists in PEM', { list: pem }],
  ])('are read with %s', (_, writer) => {
    const { pckCertificateChain, ...wanted } = collateral
    expect(pckCertificateChain).toBeUndefined()
    const withTime = [1, ...documents(collateral, writer), ascii('2026-11-01T00:00:00Z')]
    for (const members of [[3, ...documents(collateral, writer)], withTime]) {
      const read = parseEndorsements(endorsements(...members))
      for (const [name, value] of Object.entries(wanted)) {
        expect(read).toHaveProperty(name, value)
      }
    }
  })

  it('are read as RATS-TLS writes them: the version in four bytes', () => {
    const short = Buffer.from(endorsements(3, ...documents(collateral)))
    expect(hex(short.subarray(0, 5))).toBe('d9ea608803')
    const long = Buffer.concat([
      short.subarray(0, 4),
      Buffer.from('1a00000003', 'hex'),
      short.subarray(5),
    ])
    expect(parseEndorsements(long).tcbInfo).toBe(collateral.tcbInfo)
  })

  const good = [3, ...documents(collateral)] as readonly unknown[]
  it.each<[string, Uint8Array]>([
    ['another tag', encode(new Tagged(60001, [...good]))],
    ['no tag', encode([...good])],
    ['a document missing', endorsements(...good.slice(0, 7))],
    ['a document too many', endorsements(...good, 'now', 'more')],
    ['a version that is none', endorsements('3', ...good.slice(1))],
    ['a negative version', endorsements(-1, ...good.slice(1))],
    ['a text where bytes should be', endorsements(...good.with(1, 'tcbInfo'))],
    ['another document for TCB info', endorsements(...good.with(1, good[6]))],
    ['no list', endorsements(...good.with(3, ascii('none')))],
    ['text that is none', endorsements(...good.with(2, Uint8Array.of(0xff, 0xfe)))],
  ])('refuses %s', (_, value) => {
    expect(() => parseEndorsements(value)).toThrow(code('EVIDENCE'))
  })

  it('are a value or a coded error, whatever the extension holds', () => {
    const pieces = fc.oneof(
      fc.uint8Array({ maxLength: 40 }),
      fc.constantFrom(...documents(collateral)),
      fc.string(),
      fc.nat(),
    )
    const values = fc.oneof(
      fc.uint8Array({ maxLength: 80 }),
      fc.array(pieces, { maxLength: 10 }).map(members => endorsements(...members)),
      fc.tuple(fc.nat(8), pieces).map(([at, piece]) => endorsements(...good.with(at % 8, piece))),
    )
    fc.assert(
      fc.property(values, value => {
        try {
          expect(parseEndorsements(value).tcbInfo.startsWith('{')).toBe(true)
        } catch (error) {
          expect(error).toBeInstanceOf(AttestedCertificateError)
        }
      }),
      { numRuns: process.env['SLOW'] === '1' ? 50_000 : 2000 },
    )
  })
})

describe('a certificate with endorsements', () => {
  const issued = (value: Uint8Array) =>
    issueWith(spki => {
      const claims = encodeKeyClaims(spki)
      const quote = platform.quote({ ...ENCLAVE, reportData: boundReportData(claims) })
      return [
        { oid: INTEROPERABLE_OID, value: encode(new Tagged(60000, [quote, claims])) },
        { oid: ENDORSEMENTS_OID, value },
      ]
    })

  /** Connects to a server with such a certificate, with the collateral that it sends along. */
  async function connected(value: Uint8Array): Promise<string> {
    const { der, key } = await issued(value)
    const server = createServer({ key, cert: pemOf(der), minVersion: 'TLSv1.3' }, socket => {
      socket.on('error', () => {})
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const outcome = await connectAttested({
      ...{ ...requirements, host: '127.0.0.1', port, mode: 'certificate' as const },
      collateralFor: async ({ endorsements: sent }) => {
        if (sent === undefined) throw new Error('none was sent')
        return sent
      },
    }).then(
      ({ appraisal, socket }) => {
        socket.destroy()
        return appraisal.verdict
      },
      (error: { code: string }) => error.code,
    )
    server.close()
    return outcome
  }

  it('is believed by these alone, which are verified like any other', async () => {
    expect(await connected(endorsements(3, ...documents(collateral)))).toBe('trusted')
    const other = simWorld().platform.collateral(AT)
    const old = platform.collateral(new Date(AT.getTime() - 400 * 86_400_000))
    const altered = {
      ...collateral,
      tcbInfo: collateral.tcbInfo.replace(
        '"tcbEvaluationDataNumber":',
        '"tcbEvaluationDataNumber":1',
      ),
    }
    expect(altered.tcbInfo).not.toBe(collateral.tcbInfo)
    for (const bad of [other, old, altered]) {
      expect(await connected(endorsements(3, ...documents(bad)))).toBe('EVIDENCE')
    }
  })

  it('is refused when these cannot be read', async () => {
    const { der } = await issued(Uint8Array.of(0))
    expect(() => parseAttestedCertificate(der)).toThrow(code('EVIDENCE'))
  })
})

describe.runIf(HAS_VECTORS)(`endorsements of real hardware${SKIPPED}`, () => {
  it('verify a real quote', () => {
    const { collateral: real, at } = iceLakeCollateral()
    const read = parseEndorsements(endorsements(0x10003, ...documents(real, { end: '\0' })))
    const { quote } = parseAttestedCertificate(certificateFile('gramine-cert.pem'))
    const verified = verifyEvidence({ evidence: quote, collateral: read, roots: [INTEL_ROOT], at })
    expect(verified.tee).toBe('sgx')
  })
})
