import { describe, expect, it } from 'vitest'
import { exitCodeOf } from '../output/exit-codes.ts'
import { failureOf } from '../output/failure.ts'
import { UsageError } from '../usage-error.ts'
import { OnError, parseOn } from './on.ts'

function refusal(text: string): unknown {
  try {
    return parseOn(text)
  } catch (error) {
    return error
  }
}

describe('on what a job runs', () => {
  it.each(['embedded', 'local', 'docker'])('may be %s', text => {
    expect(parseOn(text)).toEqual({ kind: text })
  })

  it.each(['', 'Local', 'local:', 'local://x', 'embedded:1', 'yarn', ' local'])(
    'is nothing like %j',
    text => {
      expect(refusal(text)).toBeInstanceOf(UsageError)
    },
  )

  it('is no standalone cluster of Spark, and why, and what to do', () => {
    for (const text of ['spark://10.0.0.1:7077', 'spark:']) {
      const error = refusal(text)
      expect(error).toBeInstanceOf(OnError)
      expect(error).toMatchObject({ code: 'STANDALONE_CLUSTER' })
      expect(exitCodeOf(error)).toBe(3)
      const { text: said } = failureOf(error, false)
      expect(said).toContain('nothing attests them')
      expect(said).toContain('cloister executor JOB --driver HOST:PORT')
    }
  })
})
