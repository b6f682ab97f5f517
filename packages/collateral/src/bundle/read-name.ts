import { CollateralError } from '@cloister/attestation'
import { type DocumentName, FMSPC_PLATFORMS, type FmspcPlatform } from '../documents/name.ts'

type Members = Readonly<Record<string, unknown>>

/**
 * Reads the name of a document that Intel's file has no place for, or whose chain is its own. Those of
 * PCK certificates are not among them.
 * @throws CollateralError FORMAT
 */
export function readName(name: Members): DocumentName {
  switch (name['kind']) {
    case 'tcbInfo':
      return {
        kind: 'tcbInfo',
        tee: oneOf('tee', name['tee'], ['sgx', 'tdx']),
        fmspc: matching('fmspc', name['fmspc'], /^[0-9a-f]{12}$/),
        edition: edition(name['edition']),
        api: oneOf('api', name['api'], [3, 4]),
      }
    case 'identity':
      return {
        kind: 'identity',
        of: oneOf('of', name['of'], ['QE', 'TD_QE', 'QVE', 'QAE']),
        edition: edition(name['edition']),
      }
    case 'evaluationNumbers':
      return { kind: 'evaluationNumbers', tee: oneOf('tee', name['tee'], ['sgx', 'tdx']) }
    case 'pckCrl':
      return { kind: 'pckCrl', ca: oneOf('ca', name['ca'], ['platform', 'processor']) }
    case 'rootCaCrl':
      return { kind: 'rootCaCrl' }
    case 'fmspcs': {
      const platform = oneOf<FmspcPlatform>('platform', name['platform'], FMSPC_PLATFORMS)
      return { kind: 'fmspcs', platform }
    }
    default:
      throw new CollateralError('FORMAT', 'a document’s name is of no kind that is known')
  }
}

function edition(value: unknown) {
  if (value === 'standard' || value === 'early') return value
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= 0xffffffff) {
    return value
  }
  throw new CollateralError('FORMAT', 'edition: wanted standard, early or a number')
}

function oneOf<T extends string | number>(what: string, value: unknown, all: readonly T[]): T {
  const found = all.find(one => one === value)
  if (found === undefined) {
    throw new CollateralError('FORMAT', `${what}: wanted ${all.join(' or ')}`)
  }
  return found
}

function matching(what: string, value: unknown, pattern: RegExp): string {
  if (typeof value !== 'string' || !pattern.test(value)) {
    throw new CollateralError('FORMAT', `${what}: wanted ${pattern.source}`)
  }
  return value
}
