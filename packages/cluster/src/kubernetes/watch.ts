import { setTimeout as sleep } from 'node:timers/promises'
import { ClusterError } from '../errors.ts'
import type { Connection, Query } from './connection.ts'
import { listOf, recordOf, textOf } from './json.ts'

/** An object as the cluster says it is. Nothing of it is known but its name. */
export type Watched = Readonly<Record<string, unknown>>

/** What is watched, and by whom. */
export interface WatchOptions {
  readonly connection: Connection
  /** A collection: `/api/v1/namespaces/default/pods`. */
  readonly path: string
  /** Which of its objects: selectors. */
  readonly query: Query
  readonly signal: AbortSignal
  /** Told of all of them, at first and whenever one has changed. */
  readonly onObjects: (objects: readonly Watched[]) => void
  /** Told when the cluster does not answer, and when it does again. */
  readonly onAway?: (error: ClusterError | undefined) => void
  /** Between two tries; 1,000 unless told. Longer from time to time, up to ten times as long. */
  readonly pauseMs?: number
  /** For how long the cluster may be away; 600,000 unless told. */
  readonly patienceMs?: number
}

/** How long a watch lasts before the server ends it, and the client watches on. */
const WATCH_SECONDS = 240
/** Bookmarks come about once a minute. */
const IDLE_MS = (WATCH_SECONDS + 30) * 1000
const PAGE = 500
const MOST = 5000
/** Servers may answer with less than a page. */
const MOST_PAGES = 100
/** Most text of objects that changes bring. */
const MOST_TEXT = 1 << 26

/**
 * Watches objects until the signal aborts: lists them, and is told of changes from there on. A watch
 * that ends is taken up where it ended; one that is too old begins with a list anew.
 * @throws ClusterError, `UNREACHABLE` only after `patienceMs`
 * @see https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
 */
export async function watchObjects(options: WatchOptions): Promise<void> {
  const { signal, onAway, pauseMs = 1000, patienceMs = 600_000 } = options
  const view = new View(options)
  let awaySince: number | undefined
  let tries = 0
  while (!signal.aborted) {
    try {
      const isAnew = view.resourceVersion === undefined
      if (isAnew) await view.list()
      if (awaySince !== undefined) onAway?.(undefined)
      awaySince = undefined
      const came = await view.follow()
      tries = came ? 0 : tries + 1
    } catch (error) {
      if (!(error instanceof ClusterError)) throw error
      if (error.code === 'GONE') {
        view.forget()
      } else if (error.code === 'UNREACHABLE') {
        if (awaySince === undefined) onAway?.(error)
        awaySince ??= Date.now()
        if (Date.now() - awaySince > patienceMs) throw error
      } else throw error
      tries += 1
    }
    if (tries > 0) await pause(pauseMs * Math.min(tries, 10), signal)
  }
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => undefined)
}

/** What is known of the objects. */
class View {
  /** From where on changes are told; undefined where all is to be listed. */
  resourceVersion: string | undefined
  readonly #options: WatchOptions
  readonly #objects = new Map<string, Watched>()
  /** Length of the text of those that changes brought. */
  readonly #lengths = new Map<string, number>()

  constructor(options: WatchOptions) {
    this.#options = options
  }

  forget(): void {
    this.resourceVersion = undefined
  }

  async list(): Promise<void> {
    const { connection, path, query } = this.#options
    const found = await listObjects(connection, path, query)
    this.#objects.clear()
    this.#lengths.clear()
    for (const object of found.objects) this.#objects.set(nameOf(object), object)
    this.resourceVersion = found.resourceVersion
    this.#tell()
  }

  /** @returns whether anything came */
  async follow(): Promise<boolean> {
    const { connection, path, query, signal } = this.#options
    const watch = {
      ...{ ...query, watch: true, allowWatchBookmarks: true, timeoutSeconds: WATCH_SECONDS },
      resourceVersion: this.resourceVersion,
    }
    let came = false
    for await (const line of connection.lines(path, watch, { signal, idleMs: IDLE_MS })) {
      if (line === '') continue
      this.#take(line)
      came = true
    }
    return came
  }

  #take(line: string): void {
    const { type, object } = eventFrom(line)
    if (type === 'ERROR') throw watchError(object)
    const version = textOf(recordOf(object['metadata'])['resourceVersion'])
    if (version !== undefined) this.resourceVersion = version
    if (type === 'BOOKMARK') return
    const name = nameOf(object)
    if (type === 'DELETED') {
      this.#objects.delete(name)
      this.#lengths.delete(name)
    } else {
      this.#objects.set(name, object)
      this.#lengths.set(name, line.length)
    }
    this.#requireFew()
    this.#tell()
  }

  #requireFew(): void {
    const length = [...this.#lengths.values()].reduce((sum, one) => sum + one, 0)
    if (this.#objects.size > MOST || length > MOST_TEXT) throw tooMany()
  }

  #tell(): void {
    this.#options.onObjects([...this.#objects.values()])
  }
}

function eventFrom(line: string): { readonly type: string; readonly object: Watched } {
  let event: Readonly<Record<string, unknown>>
  try {
    event = recordOf(JSON.parse(line))
  } catch (cause) {
    throw new ClusterError('ANSWER', 'what the cluster tells of changes is no JSON', { cause })
  }
  const type = textOf(event['type']) ?? ''
  if (!['ADDED', 'MODIFIED', 'DELETED', 'BOOKMARK', 'ERROR'].includes(type)) {
    throw new ClusterError('ANSWER', `wanted a change, saw ${JSON.stringify(type)}`)
  }
  return { type, object: recordOf(event['object']) }
}

/** The `Status` that a watch ends with. */
function watchError(status: Watched): ClusterError {
  const code = status['code'] === 410 ? 'GONE' : 'UNREACHABLE'
  return new ClusterError(
    code,
    `the watch ended: ${textOf(status['message']) ?? 'no reason given'}`,
  )
}

/** Lists a collection, page by page. @throws ClusterError */
export async function listObjects(
  connection: Connection,
  path: string,
  query: Query,
): Promise<{ readonly objects: readonly Watched[]; readonly resourceVersion: string }> {
  const objects: Watched[] = []
  let next: string | undefined
  for (let page = 0; page < MOST_PAGES; page += 1) {
    const answer = await connection.ask({
      ...{ method: 'GET', path },
      query: { ...query, limit: PAGE, continue: next },
    })
    const { items, metadata } = recordOf(answer)
    objects.push(...listOf(items).map(recordOf))
    if (objects.length > MOST) throw tooMany()
    const { continue: more, resourceVersion } = recordOf(metadata)
    next = textOf(more)
    if (next !== undefined && next !== '') continue
    const version = textOf(resourceVersion)
    if (version !== undefined) return { objects, resourceVersion: version }
    throw new ClusterError('ANSWER', 'wanted a list with its version, saw none')
  }
  throw tooMany()
}

const tooMany = () =>
  new ClusterError('ANSWER', `the cluster has more than ${MOST} of what is watched, or larger ones`)

/** The name in an object's metadata. @throws ClusterError ANSWER */
export function nameOf(object: Watched): string {
  const name = textOf(recordOf(object['metadata'])['name'])
  if (name !== undefined) return name
  throw new ClusterError('ANSWER', 'wanted an object with a name, saw one without')
}
