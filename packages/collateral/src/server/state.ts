import { mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { TrustRoot } from '@cloister/attestation'
import { type CacheEvent, DocumentCache } from '../documents/document-cache.ts'
import type { DocumentName } from '../documents/name.ts'
import { DocumentStore } from '../documents/store.ts'
import { type CachingMode, Platforms, type Queued } from '../platforms/platforms.ts'
import { RecordFolder } from '../platforms/record-folder.ts'
import type { PlatformRecord } from '../platforms/registration.ts'
import type { Upstream } from '../upstream.ts'
import { UpstreamPool } from '../upstream-pool.ts'
import type { StoredPolicy } from './policies.ts'

/** Most platforms that register; more are refused. */
const MOST_PLATFORMS = 100_000
/** Most registrations that wait. */
const MOST_QUEUED = 20_000
const MOST_POLICIES = 10_000

/** What a collateral service keeps, and what it fetches with. */
export interface PccsState {
  readonly mode: CachingMode
  readonly roots: readonly TrustRoot[]
  readonly graceDays: number
  readonly now: () => Date
  readonly pool: UpstreamPool
  readonly documents: DocumentCache
  readonly records: RecordFolder<PlatformRecord>
  readonly queue: RecordFolder<Queued>
  readonly policies: RecordFolder<StoredPolicy>
  readonly platforms: Platforms
}

/** Options of {@link openState}. */
export interface PccsStateOptions {
  /** Folder of documents, platforms and policies; made with mode 0700 where absent. */
  readonly dataDir: string
  readonly mode: CachingMode
  /** Asked in this order. */
  readonly upstreams: readonly Upstream[]
  /** What everything has to lead up to. */
  readonly roots: readonly TrustRoot[]
  /** How long after its end a document still serves when no upstream has newer; 0 unless told. */
  readonly graceDays?: number
  /** Hours after which what is kept is fetched anew; 12 unless told. */
  readonly refreshHours?: number
  /** Until an upstream's answer must have come in whole; 10,000 unless told. */
  readonly upstreamTimeoutMs?: number
  readonly onEvent?: (event: CacheEvent) => void
  /** The clock; the machine's unless told. */
  readonly now?: () => Date
}

/** How long a failure to fetch is told again, before an upstream is asked the same again. */
const FAILURE_MEMORY_MS = 15_000

/** Opens what is kept in a folder. @throws the file system's errors */
export async function openState(options: PccsStateOptions): Promise<PccsState> {
  const { dataDir, mode, upstreams, roots, graceDays = 0, now = () => new Date() } = options
  await mkdir(dataDir, { recursive: true, mode: 0o700 })
  const folders = ['documents', 'platforms', 'queue', 'policies'] as const
  for (const folder of folders) await removeUnfinished(join(dataDir, folder))
  const pool = new UpstreamPool(upstreams, now)
  const documents = new DocumentCache({
    ...{ pool, roots, graceDays, now },
    store: new DocumentStore(join(dataDir, 'documents')),
    mayFetch: fetchingIn(mode),
    refreshAfterMs: (options.refreshHours ?? 12) * 60 * 60 * 1000,
    timeoutMs: options.upstreamTimeoutMs ?? 10_000,
    failureMemoryMs: FAILURE_MEMORY_MS,
    ...(options.onEvent === undefined ? {} : { onEvent: options.onEvent }),
  })
  const open = <T>(folder: (typeof folders)[number], most: number) =>
    RecordFolder.open<T>(join(dataDir, folder), '.json', most)
  const records = await open<PlatformRecord>('platforms', MOST_PLATFORMS)
  const queue = await open<Queued>('queue', MOST_QUEUED)
  const policies = await open<StoredPolicy>('policies', MOST_POLICIES)
  const platforms = new Platforms({ mode, documents, records, queue, upstreams })
  return { mode, roots, graceDays, now, pool, documents, records, queue, policies, platforms }
}

/** What is fetched for whoever asks; a registration and an administrator may have anything fetched. */
function fetchingIn(mode: CachingMode): (name: DocumentName, isKept: boolean) => boolean {
  switch (mode) {
    case 'LAZY':
      return () => true
    case 'REQ':
      return (_name, isKept) => isKept
    case 'OFFLINE':
      return () => false
  }
}

/** What a killed process left half-written. */
async function removeUnfinished(folder: string): Promise<void> {
  try {
    for (const file of await readdir(folder)) {
      if (file.endsWith('.tmp')) await rm(join(folder, file), { force: true })
    }
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error
  }
}
