import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { codeOf } from '../code-of.test.support.ts'
import type { SgxsErrorCode } from './errors.ts'
import { measureSgxs, SgxsMeasurer } from './measure.ts'
import { PAGE_SIZE, RECORD_SIZE, SECINFO } from './sgxs.ts'
import { SgxsWriter } from './write.ts'

const READ_ONLY = SECINFO.regular | SECINFO.read

const root = fileURLToPath(new URL('../../../../', import.meta.url))
const vectors = process.env['CLOISTER_VECTORS'] ?? join(root, '..', 'shared', 'vectors')
const folder = join(vectors, 'sgx-enclaves')
const present = existsSync(folder)
const skipped = present ? '' : ` (SKIPPED: no folder ${folder}; set CLOISTER_VECTORS)`

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

function sample(): Uint8Array {
  return new SgxsWriter(0x8000n, 1)
    .page(0n, READ_ONLY, Uint8Array.of(1, 2, 3))
    .page(0x1000n, SECINFO.tcs, new Uint8Array(72))
    .page(0x4000n, READ_ONLY | SECINFO.write, new Uint8Array(PAGE_SIZE).fill(7))
    .finish()
}

/** The sample with `bytes` written over it at `offset`. */
function altered(offset: number, bytes: readonly number[]): Uint8Array {
  const stream = sample()
  stream.set(bytes, offset)
  return stream
}

const FIRST_EADD = RECORD_SIZE
const FIRST_EEXTEND = 2 * RECORD_SIZE
const SECOND_EEXTEND = FIRST_EEXTEND + RECORD_SIZE + 256

describe('measureSgxs', () => {
  it('is the SHA-256 of a stream that is measured whole', () => {
    const stream = sample()
    const measured = measureSgxs(stream)
    expect(hex(measured.mrEnclave)).toBe(sha256(stream))
    expect(measured.enclaveSize).toBe(0x8000n)
    expect(measured.records).toEqual({ ECREATE: 1, EADD: 3, EEXTEND: 48, UNMEASRD: 0 })
  })

  it('leaves out what is marked as unmeasured', () => {
    const stream = altered(SECOND_EEXTEND, [...Buffer.from('UNMEASRD')])
    const hashed = Buffer.concat([
      stream.subarray(0, SECOND_EEXTEND),
      stream.subarray(SECOND_EEXTEND + RECORD_SIZE + 256),
    ])
    expect(hex(measureSgxs(stream).mrEnclave)).toBe(sha256(hashed))
  })

  const refused: readonly (readonly [string, SgxsErrorCode, () => Uint8Array])[] = [
    ['nothing', 'TRUNCATED', () => new Uint8Array(0)],
    ['an enclave without a page', 'TRUNCATED', () => sample().subarray(0, RECORD_SIZE)],
    ['a cut record', 'TRUNCATED', () => sample().subarray(0, -1)],
    ['an unknown tag', 'TAG', () => altered(FIRST_EADD, [0x66])],
    ['a tag with bytes after its end', 'TAG', () => altered(FIRST_EADD + 5, [1])],
    ['an unsized enclave', 'UNSIZED', () => altered(0, [...Buffer.from('UNSIZED\0')])],
    ['a page before ECREATE', 'ORDER', () => sample().subarray(FIRST_EADD)],
    ['a second ECREATE', 'ORDER', () => Buffer.concat([sample(), sample()])],
    [
      'a chunk before the first page',
      'ORDER',
      () => Buffer.concat([sample().subarray(0, FIRST_EADD), sample().subarray(FIRST_EEXTEND)]),
    ],
    ['a size that is no power of two', 'SIZE', () => altered(12, [0, 0x90])],
    ['a size of zero', 'SIZE', () => altered(12, [0, 0])],
    ['a frame size of zero', 'SIZE', () => altered(8, [0])],
    ['ECREATE with reserved bytes', 'RESERVED', () => altered(20, [1])],
    ['EADD with reserved bytes', 'RESERVED', () => altered(FIRST_EADD + 63, [1])],
    ['EEXTEND with reserved bytes', 'RESERVED', () => altered(FIRST_EEXTEND + 16, [1])],
    ['an unaligned page', 'PAGE', () => altered(FIRST_EADD + 8, [1])],
    ['a page outside the enclave', 'PAGE', () => altered(FIRST_EADD + 9, [0x80])],
    ['a page of an unknown type', 'PAGE', () => altered(FIRST_EADD + 17, [3])],
    ['a page with unknown flags', 'PAGE', () => altered(FIRST_EADD + 16, [0x11])],
    ['an unaligned chunk', 'CHUNK', () => altered(FIRST_EEXTEND + 8, [1])],
    ['a chunk of another page', 'CHUNK', () => altered(FIRST_EEXTEND + 9, [0x10])],
    ['a chunk twice', 'CHUNK', () => altered(SECOND_EEXTEND + 8, [0, 0])],
    [
      'a TCS page with permissions',
      'PAGE',
      () => altered(FIRST_EADD + RECORD_SIZE + 16 * 320 + 16, [1]),
    ],
    [
      'the same page twice',
      'PAGE',
      () => Buffer.concat([sample(), sample().subarray(FIRST_EADD, FIRST_EADD + 64)]),
    ],
  ]
  for (const [what, code, bytes] of refused) {
    it(`refuses ${what}`, () => {
      expect(codeOf(() => measureSgxs(bytes()))).toBe(code)
    })
  }

  it('refuses to write what it would refuse to read', () => {
    expect(codeOf(() => new SgxsWriter(0x3000n, 1))).toBe('SIZE')
    const writer = new SgxsWriter(0x2000n, 1)
    expect(codeOf(() => writer.page(0x2000n, READ_ONLY, new Uint8Array(0)))).toBe('PAGE')
    expect(codeOf(() => writer.page(0n, READ_ONLY, new Uint8Array(4097)))).toBe('PAGE')
  })
})

describe('SGXS properties', () => {
  it('a cut at any offset is refused, except where whole pages end', () => {
    const stream = sample()
    for (let length = 0; length < stream.length; length += 1) {
      const code = codeOf(() => measureSgxs(stream.subarray(0, length)))
      // A page may lack chunks: the hash then differs, the stream is well-formed.
      const whole = length > RECORD_SIZE && code === undefined
      expect(whole || code === 'TRUNCATED', `cut at ${length}`).toBe(true)
      if (whole) {
        expect(hex(measureSgxs(stream.subarray(0, length)).mrEnclave)).not.toBe(sha256(stream))
      }
    }
  })

  it('any changed bit changes the measurement or is refused', () => {
    const stream = sample()
    const original = sha256(stream)
    fc.assert(
      fc.property(fc.nat(stream.length * 8 - 1), bit => {
        const changed = stream.slice()
        changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7))
        let seen: string | undefined
        const code = codeOf(() => {
          seen = hex(measureSgxs(changed).mrEnclave)
        })
        expect(code !== undefined || seen !== original).toBe(true)
      }),
    )
  })

  it('pieces of any size give the same measurement', () => {
    const stream = sample()
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 700 }), { maxLength: 60 }), sizes => {
        const measurer = new SgxsMeasurer()
        let start = 0
        for (const size of sizes) {
          measurer.update(stream.subarray(start, start + size))
          start += size
        }
        measurer.update(stream.subarray(start))
        expect(hex(measurer.finish().mrEnclave)).toBe(sha256(stream))
      }),
    )
  })

  it('any bytes give a measurement or a coded error', () => {
    const tag = fc.constantFrom('ECREATE\0', 'EADD\0\0\0\0', 'EEXTEND\0', 'UNMEASRD', 'UNSIZED\0')
    const record = fc
      .tuple(tag, fc.uint8Array({ minLength: 0, maxLength: 320 }))
      .map(([name, rest]) => Buffer.concat([Buffer.from(name), rest]))
    const streams = fc.oneof(
      fc.uint8Array({ maxLength: 1000 }),
      fc.array(record, { maxLength: 6 }).map(records => Buffer.concat(records)),
    )
    fc.assert(
      fc.property(streams, bytes => {
        codeOf(() => measureSgxs(bytes))
      }),
    )
  })
})

interface Expected {
  readonly kind: string
  readonly valid?: boolean
  readonly mrenclave?: string
  readonly records?: Readonly<Record<string, number>>
}

const read = (path: string) => new Uint8Array(readFileSync(join(folder, path)))

describe.skipIf(!present)(`SGXS vectors${skipped}`, () => {
  const json = present ? readFileSync(join(folder, 'synthetic', 'expected.json'), 'utf8') : '{}'
  const { files } = JSON.parse(json) as { readonly files?: Readonly<Record<string, Expected>> }
  const cases = Object.entries(files ?? {}).filter(([, { kind }]) => kind === 'sgxs')

  it('has streams to accept and to refuse', () => {
    expect(cases.length).toBeGreaterThan(4)
  })

  for (const [name, expected] of cases) {
    it(expected.valid === false ? `refuses ${name}` : `measures ${name}`, () => {
      const bytes = read(join('synthetic', name))
      if (expected.valid === false) {
        expect(codeOf(() => measureSgxs(bytes))).toMatch(/^(UNSIZED|TRUNCATED|TAG)$/)
        return
      }
      const { mrEnclave, records } = measureSgxs(bytes)
      expect(hex(mrEnclave)).toBe(expected.mrenclave)
      expect({ ...records, UNSIZED: 0 }).toEqual(expected.records)
      const oneByOne = new SgxsMeasurer()
      for (const byte of bytes) oneByOne.update(Uint8Array.of(byte))
      expect(hex(oneByOne.finish().mrEnclave)).toBe(expected.mrenclave)
    })
  }

  const real = JSON.parse(present ? readFileSync(join(folder, 'real-expected.json'), 'utf8') : '{}')
  for (const [name, { kind, mrenclave }] of Object.entries<Expected>(real)) {
    if (kind !== 'sgxs') continue
    const path = join('real', name)
    const there = existsSync(join(folder, path))
    it.skipIf(!there)(`measures ${name}${there ? '' : ' (SKIPPED: image not kept)'}`, () => {
      expect(hex(measureSgxs(read(path)).mrEnclave)).toBe(mrenclave)
    })
  }
})
