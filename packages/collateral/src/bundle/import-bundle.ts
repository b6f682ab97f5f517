import { CodedError, type TrustRoot } from '@cloister/attestation'
import { DocumentCache } from '../documents/document-cache.ts'
import { keyOf, ROOT_CA_CRL } from '../documents/name.ts'
import type { RawDocument } from '../documents/raw-document.ts'
import { UpstreamError } from '../errors.ts'
import type { Platforms } from '../platforms/platforms.ts'
import { UpstreamPool } from '../upstream-pool.ts'
import type { Bundle } from './read-bundle.ts'

/** A document of a bundle, and why it was not taken. */
export interface NotTaken {
  readonly document: string
  readonly reason: string
}

/** What an import did. */
export interface ImportReport {
  readonly documents: number
  readonly platforms: number
  /** Older than what is kept, which stays. */
  readonly older: readonly NotTaken[]
  /** What did not verify; empty unless the import was allowed to be partial. */
  readonly refused: readonly NotTaken[]
}

/** A bundle that holds something that does not verify: nothing of it was taken. */
export class BundleError extends CodedError<'REFUSED'> {
  readonly reasons: readonly string[]

  constructor(refused: readonly NotTaken[]) {
    super('REFUSED', `${refused.length} documents of the bundle do not verify; nothing was taken`)
    this.reasons = refused.map(({ document, reason }) => `${document}: ${reason}`)
  }
}

/** Where a bundle goes. */
export interface ImportTarget {
  readonly documents: DocumentCache
  readonly platforms: Platforms
  readonly roots: readonly TrustRoot[]
  readonly graceDays: number
  readonly now: () => Date
}

/**
 * Verifies everything in a bundle as if it came from the network, and keeps it: all or nothing, unless
 * told that what verifies may be taken without the rest.
 * @throws BundleError REFUSED; the file system's errors
 */
export async function importBundle(
  bundle: Bundle,
  target: ImportTarget,
  { partial = false }: { readonly partial?: boolean } = {},
): Promise<ImportReport> {
  const trial = await trialOf(target)
  const [older, refused]: [NotTaken[], NotTaken[]] = [[], []]
  const isGood = async (raw: RawDocument) => {
    const reason = await trial(raw)
    if (reason === undefined) return true
    const isOlder = reason instanceof UpstreamError && reason.code === 'OLDER'
    const list = isOlder ? older : refused
    list.push({ document: keyOf(raw.name), reason: `${reason.message} [${reason.code}]` })
    return false
  }
  const documents = await filtered(bundle.documents, isGood)
  const platforms = await filtered(bundle.platforms, one => isGood(one.certificates))
  if (refused.length > 0 && !partial) throw new BundleError(refused)
  for (const raw of documents) await target.documents.accept(raw, 'bundle')
  for (const { certificates, registrations } of platforms) {
    const { content } = await target.documents.accept(certificates, 'bundle')
    if (content.kind !== 'pcks') continue
    for (const one of registrations) await target.platforms.accept(one, content.pcks)
  }
  return { documents: documents.length, platforms: platforms.length, older, refused }
}

/** Verifies in a cache of its own, which begins with the lists that are kept and fetches nothing. */
async function trialOf({ documents, roots, graceDays, now }: ImportTarget) {
  const pool = new UpstreamPool([], now)
  const trial = new DocumentCache({ ...{ pool, roots, graceDays, now }, mayFetch: () => false })
  const names = [ROOT_CA_CRL, ...LISTS]
  for (const name of names) {
    const kept = await documents.peek(name)
    if (kept !== undefined) await refusal(() => trial.accept(kept.raw, kept.from))
  }
  return (raw: RawDocument) => refusal(() => trial.accept(raw, 'bundle'))
}

const LISTS = [
  { kind: 'pckCrl', ca: 'platform' },
  { kind: 'pckCrl', ca: 'processor' },
] as const

async function refusal(run: () => Promise<unknown>): Promise<CodedError<string> | undefined> {
  try {
    await run()
    return undefined
  } catch (error) {
    if (error instanceof CodedError) return error
    throw error
  }
}

async function filtered<T>(all: readonly T[], keep: (one: T) => Promise<boolean>): Promise<T[]> {
  const kept: T[] = []
  for (const one of all) if (await keep(one)) kept.push(one)
  return kept
}
