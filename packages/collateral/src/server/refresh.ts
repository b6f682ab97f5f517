import type { DocumentName } from '../documents/name.ts'
import type { CollateralUnavailableError } from '../errors.ts'
import { prefetch } from '../platforms/prefetch.ts'
import { certificatesOf } from '../platforms/registration.ts'
import { PccsError, refusalOf } from './pccs-error.ts'
import type { PccsState } from './state.ts'

/**
 * Fetches the documents that are kept anew; PCK certificates apart.
 * @param options - `onlyDue`: those that are due by their age; what fails is then no error.
 * @throws PccsError UNAVAILABLE where nothing is fetched, or what the first failure is
 */
export async function refreshDocuments(
  state: PccsState,
  { onlyDue }: { readonly onlyDue: boolean },
): Promise<void> {
  const { documents, mode } = state
  requireFetching(mode)
  const names: DocumentName[] = []
  for await (const { raw } of documents.entries()) {
    const { kind } = raw.name
    if (kind !== 'pckCertificates' && kind !== 'pckCertificate') names.push(raw.name)
  }
  const fetch = (name: DocumentName) => (onlyDue ? documents.get(name) : documents.refresh(name))
  report(await prefetch(documents, names, fetch), onlyDue)
}

/**
 * Fetches the PCK certificates of registered platforms anew.
 * @param fmspcs - Upper-case; all where there are none.
 * @throws PccsError
 */
export async function refreshCertificates(
  { documents, records, platforms, mode }: PccsState,
  fmspcs: readonly string[],
): Promise<void> {
  requireFetching(mode)
  const names: DocumentName[] = []
  for await (const [, record] of records.entries()) {
    if (fmspcs.length > 0 && !fmspcs.includes(record.fmspc)) continue
    const kept = (await platforms.certificatesKept(record)).map(({ raw }) => raw.name)
    names.push(...(kept.length === 0 ? [certificatesOf(record)] : kept))
  }
  report(await prefetch(documents, names, name => documents.refresh(name)), false)
}

function requireFetching(mode: PccsState['mode']): void {
  if (mode !== 'OFFLINE') return
  throw new PccsError('UNAVAILABLE', 'this service fetches nothing: it is OFFLINE')
}

function report(missing: ReadonlyMap<string, CollateralUnavailableError>, isQuiet: boolean): void {
  const [first] = missing.values()
  if (first === undefined || isQuiet) return
  const reasons = [...missing.values()].map(error => error.message)
  const { code } = refusalOf(first)
  throw new PccsError(code, `${missing.size} documents were not fetched anew`, { reasons })
}
