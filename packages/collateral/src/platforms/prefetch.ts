import type { DocumentCache } from '../documents/document-cache.ts'
import { type DocumentName, keyOf } from '../documents/name.ts'
import { CollateralUnavailableError } from '../errors.ts'

/** Documents that did not come, and why. */
export type Missing = ReadonlyMap<string, CollateralUnavailableError>

/** All that verifiers want for platforms of a line of processors, of both TEEs. */
export function documentsFor(fmspc: string): readonly DocumentName[] {
  const lower = fmspc.toLowerCase()
  const tcbInfos = (['sgx', 'tdx'] as const).flatMap(tee =>
    (['standard', 'early'] as const).map(
      edition => ({ kind: 'tcbInfo', tee, fmspc: lower, edition, api: 4 }) as const,
    ),
  )
  return [...tcbInfos, ...COMMON]
}

/** The document that there is for every line of processors with SGX. */
export function standardTcbInfo(fmspc: string): DocumentName {
  return { kind: 'tcbInfo', tee: 'sgx', fmspc: fmspc.toLowerCase(), edition: 'standard', api: 4 }
}

/** What they want for all platforms. */
const COMMON: readonly DocumentName[] = [
  { kind: 'pckCrl', ca: 'platform' },
  { kind: 'pckCrl', ca: 'processor' },
  ...(['QE', 'TD_QE', 'QVE', 'QAE'] as const).map(
    of => ({ kind: 'identity', of, edition: 'standard' }) as const,
  ),
  ...(['sgx', 'tdx'] as const).map(tee => ({ kind: 'evaluationNumbers', tee }) as const),
]

/** Gets documents that are not kept yet, a few at a time. What is not there is told, and no error. */
export async function prefetch(
  documents: DocumentCache,
  names: readonly DocumentName[],
  fetch: (name: DocumentName) => Promise<unknown> = name => documents.obtain(name),
): Promise<Missing> {
  const missing = new Map<string, CollateralUnavailableError>()
  const waiting = [...names]
  const work = async () => {
    for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
      try {
        await fetch(name)
      } catch (error) {
        if (!(error instanceof CollateralUnavailableError)) throw error
        missing.set(keyOf(name), error)
      }
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work))
  return missing
}

const AT_ONCE = 4
