import { CollateralError } from './errors.ts'
import { asArray, asInstant, asInteger, asObject, type JsonObject } from './signed-json.ts'

/** Most numbers that a list of them may name. */
const MAX_NUMBERS = 256

/** A set of TCB infos and identities that was published after one TCB recovery. */
export interface EvaluationNumber {
  readonly tcbEvaluationDataNumber: number
  readonly tcbRecoveryEventDate: Date
  readonly tcbDate: Date
}

/** Which evaluation numbers are still served, parsed after the signature verified. */
export interface EvaluationNumbers {
  readonly id: 'SGX' | 'TDX'
  readonly issueDate: Date
  readonly nextUpdate: Date
  readonly numbers: readonly EvaluationNumber[]
}

/**
 * Reads the list of evaluation numbers.
 * @throws CollateralError FORMAT, VERSION, LIMIT
 * @see Intel PCS API v4, TCB evaluation data numbers v1
 */
export function parseEvaluationNumbers(list: JsonObject): EvaluationNumbers {
  const { id, version } = list
  if (version !== 1 || (id !== 'SGX' && id !== 'TDX')) {
    throw new CollateralError(
      'VERSION',
      `evaluation numbers: wanted version 1 with id SGX or TDX, saw ${String(version)} with ${String(id)}`,
    )
  }
  const numbers = asArray('tcbEvalNumbers', list['tcbEvalNumbers'])
  if (numbers.length > MAX_NUMBERS) {
    throw new CollateralError(
      'LIMIT',
      `tcbEvalNumbers: ${numbers.length}, wanted at most ${MAX_NUMBERS}`,
    )
  }
  return {
    id,
    issueDate: asInstant('issueDate', list['issueDate']),
    nextUpdate: asInstant('nextUpdate', list['nextUpdate']),
    numbers: numbers.map(value => {
      const one = asObject('tcbEvalNumbers', value)
      return {
        tcbEvaluationDataNumber: asInteger(
          'tcbEvaluationDataNumber',
          one['tcbEvaluationDataNumber'],
          0xffffffff,
        ),
        tcbRecoveryEventDate: asInstant('tcbRecoveryEventDate', one['tcbRecoveryEventDate']),
        tcbDate: asInstant('tcbDate', one['tcbDate']),
      }
    }),
  }
}
