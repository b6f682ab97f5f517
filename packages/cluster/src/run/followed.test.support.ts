import { type FollowOptions, followRun, type RunEvent } from '../index.ts'

/** A run that is followed, and what was told of it. */
export interface Followed {
  readonly events: readonly RunEvent[]
  readonly log: readonly string[]
  /** An error, or whether it ended well. */
  readonly end: Promise<unknown>
  /** Codes of the troubles, sorted. */
  readonly troubles: () => readonly string[]
  /** Resolves when an event or a line like this one was told. */
  told(text: string): Promise<void>
  leave(): void
}

/** Follows a run. */
export function followed(
  options: Pick<FollowOptions, 'connection' | 'namespace' | 'name' | 'uid' | 'driverMs'>,
): Followed {
  const events: RunEvent[] = []
  const log: string[] = []
  const left = new AbortController()
  const wanted = new Set<() => void>()
  const end = followRun({
    ...{ ...options, signal: left.signal, pauseMs: 5 },
    onEvent: event => {
      events.push(event)
      for (const look of wanted) look()
    },
    onLog: line => {
      log.push(line)
      for (const look of wanted) look()
    },
  }).catch((error: unknown) => error)
  return {
    ...{ events, log, end },
    troubles: () =>
      events.flatMap(event => (event.kind === 'trouble' ? [event.code as string] : [])).sort(),
    told: text =>
      new Promise(resolve => {
        const look = () => {
          if (JSON.stringify([events, log]).includes(text)) resolve()
        }
        wanted.add(look)
        look()
      }),
    leave: () => left.abort(),
  }
}
