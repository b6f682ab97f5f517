import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LockError } from './errors.ts'
import { type Artefact, encodeLock, type Lock, parseLock } from './format.ts'

const hex = (seed: string) => seed.repeat(64).slice(0, 64)

const DEB: Artefact = {
  kind: 'deb',
  name: 'libc6',
  version: '2.36-9+deb12u14',
  purl: 'pkg:deb/debian/libc6@2.36-9%2Bdeb12u14?arch=amd64',
  size: 10,
  sha256: hex('ab'),
  architecture: 'amd64',
  listed: true,
}
const WHEEL: Artefact = {
  kind: 'wheel',
  name: 'numpy',
  version: '1.26.4',
  purl: 'pkg:pypi/numpy@1.26.4',
  size: 11,
  sha256: hex('cd'),
  file: 'numpy-1.26.4-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl',
}

const LOCK: Lock = {
  version: 1,
  architecture: 'amd64',
  inputs: { request: hex('01'), files: { 'requirements.txt': hex('02') } },
  artefacts: [WHEEL, DEB],
}

function codeOf(bytes: Uint8Array): string {
  try {
    parseLock(bytes)
  } catch (error) {
    if (error instanceof LockError) return error.code
    throw error
  }
  return 'accepted'
}

const text = Buffer.from(encodeLock(LOCK)).toString()

describe('enclave.lock', () => {
  it('is read as it was written, in one order whatever the order of packages', () => {
    expect(parseLock(encodeLock(LOCK)).artefacts.map(({ name }) => name)).toEqual([
      'libc6',
      'numpy',
    ])
    expect(encodeLock({ ...LOCK, artefacts: [DEB, WHEEL] })).toEqual(encodeLock(LOCK))
    expect(encodeLock(parseLock(encodeLock(LOCK)))).toEqual(encodeLock(LOCK))
  })

  const edits: readonly (readonly [string, string, string])[] = [
    ['a digest', hex('cd'), hex('ce')],
    ['a version', '1.26.4', '1.26.5'],
    ['a size', '"size": 11', '"size": 12'],
    ['what is listed', '"listed": true', '"listed": false'],
    ['what it was made for', hex('01'), hex('03')],
    ['a space', '"size": 11', '"size":  11'],
    ['a field that is none', '"size": 11', '"size": 11, "url": "x"'],
    ['a kind', '"kind": "deb"', '"kind": "rpm"'],
    ['a file name that climbs', '"numpy-1.26.4-cp311', '"../numpy-1.26.4-cp311'],
  ]
  for (const [what, from, to] of edits) {
    it(`edited by hand is refused: ${what}`, () => {
      expect(text).toContain(from)
      expect(codeOf(Buffer.from(text.replace(from, to)))).toBe('LOCK_FORMAT')
    })
  }

  it('with a package twice is refused', () => {
    expect(codeOf(encodeLock({ ...LOCK, artefacts: [DEB, DEB] }))).toBe('LOCK_FORMAT')
  })

  it('has jars of one version that differ by their classifier', () => {
    const jar = (classifier: string): Artefact => ({
      ...{ kind: 'jar', name: 'io.netty:netty-codec', version: '4.2.0' },
      purl: `pkg:maven/io.netty/netty-codec@4.2.0?classifier=${classifier}`,
      ...{ size: 12, sha256: hex('ef'), file: `netty-codec-4.2.0-${classifier}.jar` },
    })
    const [linux, windows] = [jar('linux'), jar('windows')]
    const both = encodeLock({ ...LOCK, artefacts: [windows, linux] })
    expect(both).toEqual(encodeLock({ ...LOCK, artefacts: [linux, windows] }))
    expect(parseLock(both).artefacts).toEqual([linux, windows])
    expect(codeOf(encodeLock({ ...LOCK, artefacts: [linux, linux] }))).toBe('LOCK_FORMAT')
  })

  it('names no host', () => {
    expect(text).not.toMatch(/https?:|\/\//)
  })

  it('with any byte changed, cut or added is refused', () => {
    const bytes = encodeLock(LOCK)
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), (at, xor) => {
        const changed = Uint8Array.from(bytes)
        changed[at] = (changed[at] ?? 0) ^ xor
        expect(codeOf(changed)).toBe('LOCK_FORMAT')
        expect(codeOf(bytes.subarray(0, at))).toBe('LOCK_FORMAT')
      }),
    )
    expect(codeOf(Buffer.concat([bytes, Buffer.from('\n')]))).toBe('LOCK_FORMAT')
  })

  it('is a lock or a LockError, whatever the bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array(), bytes => {
        expect(codeOf(bytes)).toBe('LOCK_FORMAT')
      }),
    )
    fc.assert(
      fc.property(fc.jsonValue(), value => {
        expect(codeOf(Buffer.from(JSON.stringify(value)))).toBe('LOCK_FORMAT')
      }),
    )
  })
})
