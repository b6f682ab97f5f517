import { Type } from '@sinclair/typebox'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseAs } from './schema.ts'

const schema = Type.Object({
  name: Type.String(),
  tags: Type.Record(Type.String(), Type.Array(Type.String())),
})

describe('a value that comes in', () => {
  it('is given as it came', () => {
    const value = { name: '\u{1f511} key', tags: { '\u{1f511}': ['a', '\u0000'] } }
    expect(parseAs('request', schema, value)).toBe(value)
  })

  it('is refused with a text that is no well-formed Unicode, wherever that stands', () => {
    const text = fc.string({ unit: 'binary' })
    const lone = fc
      .tuple(text, fc.constantFrom('\ud800', '\udbff', '\udc00', '\udfff'), text)
      .map(parts => parts.join(' '))
    fc.assert(
      fc.property(lone, spoilt => {
        for (const value of [
          { name: spoilt, tags: {} },
          { name: 'a', tags: { [spoilt]: [] } },
          { name: 'a', tags: { b: ['c', spoilt] } },
        ]) {
          expect(() => parseAs('request', schema, value)).toThrow(
            expect.objectContaining({ code: 'MALFORMED' }),
          )
        }
      }),
    )
  })
})
