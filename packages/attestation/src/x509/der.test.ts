import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseCertificate } from './certificate.ts'
import { parseCrl } from './crl.ts'
import { DerError, parseDer, readBoolean, readOid, readSmallInteger, readTime } from './der.ts'
import { splitPemCertificates } from './pem.ts'

const hex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'hex'))
const codeOf = (run: () => unknown): string => {
  try {
    run()
  } catch (error) {
    if (error instanceof DerError) return error.code
    throw error
  }
  return 'none'
}
const time = (tag: string, text: string): Uint8Array => {
  const length = text.length.toString(16).padStart(2, '0')
  return hex(tag + length + Buffer.from(text).toString('hex'))
}

describe('parseDer', () => {
  it.each([
    ['', 'TRUNCATED'],
    ['30', 'TRUNCATED'],
    ['3001', 'TRUNCATED'],
    ['30030201', 'TRUNCATED'],
    ['3003020201', 'TRUNCATED'],
    ['3081', 'TRUNCATED'],
    ['30800000', 'LENGTH'],
    ['30810100', 'LENGTH'],
    ['3082000100', 'LENGTH'],
    ['30850000000001', 'LENGTH'],
    ['300000', 'TRAILING_BYTES'],
    ['1f0100', 'TAG'],
    ['0000', 'TAG'],
    ['1000', 'TAG'],
    ['2400', 'TAG'],
  ])('refuses %s with %s', (text, code) => {
    expect(codeOf(() => parseDer(hex(text)))).toBe(code)
  })

  it('limits nesting and size', () => {
    const nest = (depth: number): Uint8Array => {
      let bytes = hex('0500')
      for (let i = 0; i < depth; i++) bytes = new Uint8Array([0x30, bytes.length, ...bytes])
      return bytes
    }
    expect(codeOf(() => parseDer(nest(16)))).toBe('none')
    expect(codeOf(() => parseDer(nest(17)))).toBe('LIMIT')
    expect(codeOf(() => parseDer(new Uint8Array(64 * 1024 + 1)))).toBe('LIMIT')
    expect(codeOf(() => parseCrl(new Uint8Array(1024 * 1024 + 1)))).toBe('LIMIT')
  })

  it.each(['020100', '02017f', '02020080'])('takes the minimal INTEGER %s', text => {
    expect(codeOf(() => readSmallInteger(parseDer(hex(text)), 0xff))).toBe('none')
  })

  it.each(['0200', '0202007f', '0202ff80', '0201ff', '02020100'])('refuses INTEGER %s', text => {
    expect(codeOf(() => readSmallInteger(parseDer(hex(text)), 0xff))).toBe('VALUE')
  })

  it('reads booleans strictly', () => {
    expect(readBoolean(parseDer(hex('0101ff')))).toBe(true)
    expect(readBoolean(parseDer(hex('010100')))).toBe(false)
    expect(codeOf(() => readBoolean(parseDer(hex('010101'))))).toBe('VALUE')
    expect(codeOf(() => readBoolean(parseDer(hex('0102ffff'))))).toBe('VALUE')
  })

  it('reads object identifiers', () => {
    expect(readOid(parseDer(hex('06082a8648ce3d040302')))).toBe('1.2.840.10045.4.3.2')
    expect(readOid(parseDer(hex('060a2a864886f84d010d0101')))).toBe('1.2.840.113741.1.13.1.1')
    expect(readOid(parseDer(hex('0603883703')))).toBe('2.999.3')
    expect(readOid(parseDer(hex('06146983f09da7ebcfdee0c7a1a7b2c0948cc8f9d776')))).toBe(
      '2.25.329800735698586629295641978511506172918',
    )
    expect(readOid(parseDer(hex('060b8180808080808080808050')))).toBe('2.1180591620717411303424')
    expect(readOid(parseDer(hex('06082affffffffffff7f')))).toBe('1.2.562949953421311')
    expect(readOid(parseDer(hex('06092a8180808080808000')))).toBe('1.2.562949953421312')
    for (const text of ['0600', '060180', '06032a8001', '06022a86']) {
      expect(codeOf(() => readOid(parseDer(hex(text))))).toBe('VALUE')
    }
  })

  it('reads times', () => {
    const read = (tag: string, text: string): string =>
      readTime(parseDer(time(tag, text))).toISOString()
    expect(read('17', '491231235959Z')).toBe('2049-12-31T23:59:59.000Z')
    expect(read('17', '500101000000Z')).toBe('1950-01-01T00:00:00.000Z')
    expect(read('18', '20240229000000Z')).toBe('2024-02-29T00:00:00.000Z')
    for (const [tag, text] of [
      ['17', '230229000000Z'],
      ['17', '231301000000Z'],
      ['17', '230101240000Z'],
      ['17', '2301010000Z'],
      ['17', '230101000000+0000'],
      ['18', '20230101000000.5Z'],
      ['18', '2023010100000aZ'],
    ] as const) {
      expect(codeOf(() => read(tag, text))).toBe('VALUE')
    }
  })
})

describe('any bytes', () => {
  const parsers = { parseDer, parseCertificate, parseCrl, splitPemCertificates }
  it.each(Object.entries(parsers))('%s gives a value or a DerError', (_, parse) => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), bytes => {
        codeOf(() => parse(bytes))
      }),
    )
  })
})
