import { ClusterError } from '../errors.ts'

const SUFFIXES: Readonly<Record<string, number>> = {
  '': 1,
  ...{ n: 1e-9, u: 1e-6, m: 1e-3, k: 1e3, M: 1e6, G: 1e9, T: 1e12, P: 1e15, E: 1e18 },
  ...{ Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30, Ti: 2 ** 40, Pi: 2 ** 50, Ei: 2 ** 60 },
}

const FORM = /^([+-]?(?:\d+\.?\d*|\.\d+))(?:([eE][+-]?\d+)|([numkMGTPE]|[KMGTPE]i)?)$/

/**
 * Reads an amount, such as `512Mi`.
 * @throws ClusterError ANSWER
 * @see https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
 */
export function parseQuantity(text: string): number {
  const [, digits, exponent = '', suffix = ''] = FORM.exec(text) ?? []
  const factor = SUFFIXES[suffix]
  if (digits === undefined || factor === undefined) {
    throw new ClusterError('ANSWER', `wanted an amount of a resource, saw ${JSON.stringify(text)}`)
  }
  return Number(`${digits}${exponent}`) * factor
}
