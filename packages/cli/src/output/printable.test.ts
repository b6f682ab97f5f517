import { describe, expect, it, vi } from 'vitest'
import { factLines } from '../attest/print-facts.ts'
import { UsageError } from '../usage-error.ts'
import { failureOf } from './failure.ts'
import { printable } from './printable.ts'
import { createPrinter } from './printer.ts'

const HOSTILE = '\u001b]0;title\u0007\u009b31m\u202e\r\u007f'

describe('text of strangers on a terminal', () => {
  it('has no control character but line ends and tabs', () => {
    expect(printable(`a\n\tb${HOSTILE}é`)).toBe(
      'a\n\tb\\u001b]0;title\\u0007\\u009b31m\\u202e\\u000d\\u007fé',
    )
  })

  it('is written out in what inspect tells, and in errors', () => {
    const control = /[^\P{Cc}\n]/u
    expect(factLines({ name: HOSTILE, list: [HOSTILE], [HOSTILE]: 1 }).join('')).not.toMatch(
      control,
    )
    const error = new UsageError(HOSTILE, HOSTILE, { cause: new Error(HOSTILE) })
    expect(failureOf(error, false).text).not.toMatch(control)
  })

  it('is written out in notes: what other hosts say is in them', () => {
    const write = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
    try {
      createPrinter({ json: false }).note(`warning: ${HOSTILE}`)
      expect(write.mock.calls).toEqual([[`warning: ${printable(HOSTILE)}\n`]])
    } finally {
      write.mockRestore()
    }
  })

  it('is not said twice where the cause is in the message', () => {
    const error = new UsageError('f.bin: cut', 'look', { cause: new Error('cut') })
    expect(failureOf(error, false).text).toBe('cloister: f.bin: cut\n  next: look\n')
  })
})
