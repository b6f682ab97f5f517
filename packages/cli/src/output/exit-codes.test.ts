import { ImageError } from '@cloister/enclave'
import { describe, expect, it } from 'vitest'
import { EXIT, exitCodeOf } from './exit-codes.ts'

const system = (code: string) => Object.assign(new Error(code), { code })

describe('the exit code', () => {
  it.each([
    [
      'an image that is not there',
      new ImageError('READ', 'x', { cause: system('ENOENT') }),
      EXIT.notFound,
    ],
    [
      'an image that may not be read',
      new ImageError('READ', 'x', { cause: system('EACCES') }),
      EXIT.storage,
    ],
    [
      'a link in place of a file',
      new ImageError('READ', 'x', { cause: system('ELOOP') }),
      EXIT.notAuthentic,
    ],
    ['an image that is too long', new ImageError('READ', 'x'), EXIT.notAuthentic],
    [
      'a changed file',
      new ImageError('CHANGED', 'x', { cause: system('ENOENT') }),
      EXIT.notAuthentic,
    ],
    ['a folder that is taken', new ImageError('EXISTS', 'x'), EXIT.usage],
    ['a path that an image does not have', new ImageError('ABSENT', 'x'), EXIT.notFound],
    ['a full disk', new ImageError('WRITE', 'x'), EXIT.storage],
    ['a folder in place of a file', system('EISDIR'), EXIT.usage],
    ['a fault of ours', new TypeError('x'), EXIT.internal],
  ])('of %s', (_what, error, code) => {
    expect(exitCodeOf(error)).toBe(code)
  })
})
