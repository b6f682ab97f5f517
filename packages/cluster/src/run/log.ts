import { setTimeout as sleep } from 'node:timers/promises'
import { ClusterError } from '../errors.ts'
import type { Connection } from '../kubernetes/connection.ts'
import { pathOf } from './paths.ts'

/** Whose log it is. */
export interface LoggedPod {
  readonly name: string
  readonly container: string
  /** Aborts when another pod has taken its place, maybe with its name. */
  readonly replaced: AbortSignal
}

/** A log that is read to its end. */
export interface LogOptions {
  readonly connection: Connection
  readonly namespace: string
  /** The pod that there is now: a run that is suspended and resumed has one after another. */
  readonly pod: () => LoggedPod | undefined
  readonly signal: AbortSignal
  readonly pauseMs: number
  /** Whether there will be no more of it. */
  readonly hasEnded: () => boolean
  readonly onLine: (line: string) => void
  /** Told once when it cannot be read; it is tried again as long as the container runs. */
  readonly onFailure: (error: ClusterError) => void
}

/** Without a line for so long the log is asked for anew, from where it was. */
const IDLE_MS = 300_000
/** As kubelets write it: `2026-01-01T00:00:00.000000000Z`, or with the machine's zone, `+01:00`. */
const STAMPED = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d) ?/

/**
 * Reads the log of a run's pod as it grows, each line once, until it has ended. A connection that is
 * lost is taken up after the last line that came.
 */
export async function followLog(options: LogOptions): Promise<void> {
  const { hasEnded, onFailure, pauseMs, signal } = options
  let lines: Lines | undefined
  let hasFailed = false
  while (!signal.aborted) {
    // What is read from here on is all of it.
    const isLast = hasEnded()
    const pod = options.pod()
    if (pod !== undefined && pod !== lines?.pod) lines = new Lines(options, pod)
    try {
      if (pod !== undefined) await lines?.read()
    } catch (error) {
      if (!(error instanceof ClusterError)) throw error
      if (!hasFailed && !isWaiting(error)) {
        hasFailed = true
        onFailure(error)
      }
    }
    if (isLast) return
    await sleep(pauseMs, undefined, { signal }).catch(() => undefined)
  }
}

/** "container … is waiting to start" is an answer of 400. */
const isWaiting = ({ code }: ClusterError) => code === 'INVALID'

class Lines {
  readonly pod: LoggedPod
  readonly #options: LogOptions
  /** Of the last line that came: machines have clocks of their own zones, some of which are put back. */
  #second = -Infinity
  #fraction = ''

  constructor(options: LogOptions, pod: LoggedPod) {
    this.pod = pod
    this.#options = options
  }

  async read(): Promise<void> {
    const { connection, namespace, onLine } = this.#options
    const { container, name, replaced } = this.pod
    const signal = AbortSignal.any([this.#options.signal, replaced])
    const query = {
      ...{ container, follow: true, timestamps: true },
      sinceTime: this.#second === -Infinity ? undefined : rfc3339(this.#second),
    }
    const path = `${pathOf(namespace, 'Pod', name)}/log`
    for await (const line of connection.lines(path, query, { signal, idleMs: IDLE_MS })) {
      // Maybe of the other, which is read from its beginning.
      if (replaced.aborted) return
      const [stamp, second = '', fraction = '', zone = ''] = STAMPED.exec(line) ?? []
      const at = Date.parse(second + zone)
      if (stamp === undefined || Number.isNaN(at)) {
        onLine(line)
      } else if (this.#isNew(at, fraction)) {
        onLine(line.slice(stamp.length))
      }
    }
  }

  /** `sinceTime` goes by the second: lines of that second come again. */
  #isNew(second: number, fraction: string): boolean {
    const padded = fraction.padEnd(10, '0')
    const isLater = second > this.#second || (second === this.#second && padded > this.#fraction)
    if (isLater) [this.#second, this.#fraction] = [second, padded]
    return isLater
  }
}

/** An instant of a whole second. */
const rfc3339 = (at: number): string => new Date(at).toISOString().replace('.000Z', 'Z')
