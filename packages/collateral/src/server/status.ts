import { keyOf } from '../documents/name.ts'
import type { PccsService } from './service.ts'

/** Most documents that a status lists; those that end first. */
const MOST_LISTED = 100

/** How the service is doing, for its administrators. */
export async function statusOf(service: PccsService): Promise<object> {
  const { documents, records, queue, policies, pool, counters, mode, graceDays, now } = service
  const kept: { name: string; from: string; fetchedAt: Date; endsAt: Date; stale: boolean }[] = []
  for await (const entry of documents.entries()) {
    const { raw, from, fetchedAt, endsAt } = entry
    kept.push({ name: keyOf(raw.name), from, fetchedAt, endsAt, stale: documents.isStale(entry) })
  }
  kept.sort((a, b) => a.endsAt.getTime() - b.endsAt.getTime())
  return {
    at: now(),
    mode,
    graceDays,
    upstreams: pool.health(),
    documents: { count: kept.length, endingFirst: kept.slice(0, MOST_LISTED) },
    platforms: records.size,
    queued: queue.size,
    policies: policies.size,
    answersByStatus: counters.byStatus(),
  }
}
