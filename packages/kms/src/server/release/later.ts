import { KmsError } from '../../protocol/errors.ts'
import type { EarlierRelease } from '../../protocol/messages.ts'
import type { AuditEntry } from '../audit/index.ts'
import type { KmsService } from '../service.ts'
import { authorise, type Instance, type RequestKind, type SignedRequest } from './authorise.ts'

/** Milliseconds after its release in which a job may still seal results and move heads: a week. */
export const MAX_JOB_MS = 7 * 24 * 60 * 60 * 1000

/** A release that an instance goes on with. */
export interface Earlier {
  readonly instance: Instance
  readonly releasedAt: Date
  /** Datasets that it gave output keys to. */
  readonly outputs: ReadonlySet<unknown>
  /** Policies that it counted by: none where it went on with another itself, and did not count. */
  readonly countedBy: ReadonlySet<string>
}

/**
 * Verifies a request that an instance makes after its release. The token is judged as of that
 * release, since a job may run longer than a token lives.
 * @throws KmsError RELEASE_DENIED, TOKEN_EXPIRED, and what {@link authorise} throws
 */
export async function authoriseLater(
  service: KmsService,
  request: SignedRequest<RequestKind>,
  earlier: EarlierRelease,
  at: Date,
): Promise<Earlier> {
  const row = await releaseRow(service, earlier)
  const releasedAt = new Date(row.at)
  const instance = await authorise(service, request, releasedAt)
  requireSameRun(row, instance, at)
  const outputs: unknown = row['outputs']
  const datasets = Array.isArray(outputs) ? outputs.map(({ datasetId }) => datasetId) : []
  return { instance, releasedAt, outputs: new Set(datasets), countedBy: countedBy(row) }
}

function countedBy(row: AuditEntry): ReadonlySet<string> {
  const policies: unknown = row['continues'] === undefined ? row['policies'] : []
  return new Set(Array.isArray(policies) ? policies : [])
}

/** The release's own row, in a log at least as long as the instance has seen it. */
async function releaseRow(
  { audit, store }: KmsService,
  { releaseIndex: index, logSize }: EarlierRelease,
): Promise<AuditEntry> {
  const { row, size } = await store.read(async tx => {
    const [row] = await audit.entries(tx, { after: index - 1, limit: 1 })
    return { row, size: (await audit.root(tx)).size }
  })
  const { action, outcome } = { ...row?.entry }
  if (row?.index === index && action === 'release' && outcome === 'released' && logSize <= size) {
    return row.entry
  }
  throw new KmsError('RELEASE_DENIED', 'there was no such release', {
    reasons: [{ code: 'RELEASE_INDEX', message: `audit row ${index} of ${size} is of no release` }],
  })
}

/** Of that very token, and not too long ago. */
function requireSameRun(row: AuditEntry, { token }: Instance, at: Date): void {
  if (row['tokenId'] !== token.tokenId) {
    throw new KmsError('RELEASE_DENIED', 'that release was another instance’s', {
      reasons: [{ code: 'RELEASE_INDEX', message: 'that audit row is of another token' }],
    })
  }
  if (at.getTime() - Date.parse(row.at) > MAX_JOB_MS) {
    throw new KmsError('TOKEN_EXPIRED', 'the release was more than a week ago')
  }
}
