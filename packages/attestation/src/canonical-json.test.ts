import { describe, expect, it } from 'vitest'
import { canonicalJson } from './canonical-json.ts'

describe('canonicalJson', () => {
  it('sorts by UTF-16 code units, as in RFC 8785 section 3.2.3', () => {
    const value = {
      '€': 'Euro Sign',
      '\r': 'Carriage Return',
      '\u{fb33}': 'Hebrew Letter Dalet With Dagesh',
      '1': 'One',
      '\u{1f600}': 'Emoji: Grinning Face',
      '\u0080': 'Control',
      ö: 'Latin Small Letter O With Diaeresis',
    }
    expect(Object.values(JSON.parse(canonicalJson(value)))[0]).toBe('One')
    expect([...canonicalJson(value).matchAll(/:"(\w+)/g)].map(match => match[1])).toEqual([
      ...['Carriage', 'One', 'Control', 'Latin', 'Euro', 'Emoji', 'Hebrew'],
    ])
    expect(canonicalJson([1, 0.1, true, 'a"\n', [], {}])).toBe('[1,0.1,true,"a\\"\\n",[],{}]')
  })
})
