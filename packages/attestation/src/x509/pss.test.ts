import { describe, expect, it } from 'vitest'
import { DerError, parseDer } from './der.ts'
import { der, explicit, integer, oid, sequence } from './der-writer.ts'
import { requirePss384 } from './pss.ts'

const SHA256 = '2.16.840.1.101.3.4.2.1'
const SHA384 = '2.16.840.1.101.3.4.2.2'
const MGF1 = '1.2.840.113549.1.1.8'
const NULL = der(0x05)

const hash = explicit(0, sequence(oid(SHA384)))
const mask = explicit(1, sequence(oid(MGF1), sequence(oid(SHA384))))
const salt = explicit(2, integer(48))
const trailer = explicit(3, integer(1))

function isRead(...parameters: readonly Uint8Array[]): boolean {
  try {
    requirePss384(parseDer(sequence(...parameters)))
    return true
  } catch (error) {
    expect(error).toBeInstanceOf(DerError)
    return false
  }
}

describe('requirePss384', () => {
  it('reads AMD’s parameters, with the trailer and NULLs or without', () => {
    const nulled = sequence(oid(SHA384), NULL)
    expect(isRead(hash, mask, salt)).toBe(true)
    expect(isRead(hash, mask, salt, trailer)).toBe(true)
    expect(isRead(explicit(0, nulled), explicit(1, sequence(oid(MGF1), nulled)), salt)).toBe(true)
  })

  const refused: readonly (readonly [string, readonly Uint8Array[]])[] = [
    ['no parameters, which mean SHA-1', []],
    ['no hash', [mask, salt]],
    ['no mask function', [hash, salt]],
    ['no salt length, which means 20', [hash, mask]],
    ['SHA-256', [explicit(0, sequence(oid(SHA256))), mask, salt]],
    ['a mask of SHA-256', [hash, explicit(1, sequence(oid(MGF1), sequence(oid(SHA256)))), salt]],
    ['a mask with no hash', [hash, explicit(1, sequence(oid(MGF1))), salt]],
    [
      'a mask that is not MGF1',
      [hash, explicit(1, sequence(oid(SHA384), sequence(oid(SHA384)))), salt],
    ],
    ['a salt of 32 bytes', [hash, mask, explicit(2, integer(32))]],
    ['a salt of 0 bytes', [hash, mask, explicit(2, integer(0))]],
    ['a salt of 2^32 + 48 bytes', [hash, mask, explicit(2, integer(2 ** 32 + 48))]],
    ['another trailer', [hash, mask, salt, explicit(3, integer(2))]],
    ['trailer 0', [hash, mask, salt, explicit(3, integer(0))]],
    ['another order', [mask, hash, salt]],
    ['a parameter twice', [hash, hash, mask, salt]],
    ['something more', [hash, mask, salt, trailer, NULL]],
    ['two hashes under one tag', [der(0xa0, sequence(oid(SHA384)), NULL), mask, salt]],
    [
      'a NULL with contents',
      [explicit(0, sequence(oid(SHA384), der(0x05, Uint8Array.of(0)))), mask, salt],
    ],
  ]
  it.each(refused)('refuses %s', (_what, parameters) => {
    expect(isRead(...parameters)).toBe(false)
  })
})
