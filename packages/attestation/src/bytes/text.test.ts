import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { asciiOf, base64Of, bytesOfAscii, bytesOfBase64, bytesOfHex, hexOf } from './text.ts'

const some = fc.uint8Array({ maxLength: 40 })

describe('bytes as text', () => {
  it('are hexadecimal as others write and read it, in either case', () => {
    fc.assert(
      fc.property(some, bytes => {
        const text = Buffer.from(bytes).toString('hex')
        expect(hexOf(bytes)).toBe(text)
        expect(bytesOfHex(text)).toEqual(bytes)
        expect(bytesOfHex(text.toUpperCase())).toEqual(bytes)
      }),
    )
  })

  it('are base64 in one spelling alone', () => {
    fc.assert(
      fc.property(some, bytes => {
        const text = Buffer.from(bytes).toString('base64')
        expect(bytesOfBase64(text)).toEqual(bytes)
        expect(base64Of(bytes)).toBe(text)
      }),
    )
    const alphabet = fc.constantFrom(...'ABCDwxyz0189+/=-_ \n\u00e9\u{1f600}')
    fc.assert(
      fc.property(fc.array(alphabet, { maxLength: 9 }), characters => {
        const text = characters.join('')
        const bytes = Buffer.from(text, 'base64')
        const isCanonical = bytes.toString('base64') === text
        expect(bytesOfBase64(text)).toEqual(isCanonical ? new Uint8Array(bytes) : undefined)
      }),
      { numRuns: 3000 },
    )
  })

  it('are ASCII, or never taken for it', () => {
    const every = Uint8Array.from({ length: 256 }, (_, byte) => byte)
    expect([...asciiOf(every)].slice(0, 128).join('')).toBe(
      String.fromCharCode(...every.subarray(0, 128)),
    )
    for (const character of [...asciiOf(every)].slice(128)) {
      expect(character.codePointAt(0)).toBeGreaterThan(127)
    }
    expect(bytesOfAscii('Spec ID Event03\0')).toEqual(
      new Uint8Array(Buffer.from('Spec ID Event03\0', 'latin1')),
    )
  })
})
