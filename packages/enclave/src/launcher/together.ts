import { PassThrough } from 'node:stream'
import { executorName, MAX_EXECUTORS, numbersOf, type Place } from '../instance/together.ts'
import { LaunchError } from './errors.ts'
import type { LaunchEvent } from './event.ts'
import {
  type InstanceOptions,
  type InstanceResult,
  launchInstance,
  type Prepared,
} from './instance.ts'
import { Switchboard } from './switchboard.ts'

/** A launch of several instances. */
export type TogetherOptions = Omit<InstanceOptions, 'among'> & { readonly executors: number }

/**
 * Runs a job as a driver and executors, each in a sandbox and a network of its own, and connects
 * them. Executors begin when the driver has attested and says which run it is; one that is lost at
 * work is replaced by another, and one that was refused is not.
 * @returns how the driver ended
 * @throws LaunchError `EXECUTORS` when none is left; `SANDBOX` where there is none
 */
export async function launchTogether(
  options: TogetherOptions,
  prepared: Prepared,
): Promise<InstanceResult> {
  requirePossible(options, prepared)
  const { executors, onEvent } = options
  const switchboard = new Switchboard(options.wire)
  const ended = new AbortController()
  const called = options.signal === undefined ? [] : [options.signal]
  const team = new Team(options, prepared, switchboard, () => ended.abort())
  try {
    const among = { place: { role: 'driver', executors } as const, switchboard }
    const watch = (event: LaunchEvent) => {
      onEvent(event)
      if (event.kind === 'run') team.begin(event.runId)
      if (event.kind === 'step' && event.step === 'program-ended') team.isOver = true
    }
    return await launchInstance(
      {
        ...options,
        among,
        onEvent: watch,
        signal: AbortSignal.any([...called, ended.signal]),
      },
      prepared,
    )
  } catch (error) {
    if (!ended.signal.aborted || options.signal?.aborted === true) throw error
    throw new LaunchError('EXECUTORS', `no executor is left: ${team.lastLoss}`, { cause: error })
  } finally {
    await team.end()
  }
}

function requirePossible({ executors }: TogetherOptions, { image, enclosure }: Prepared): void {
  if (!Number.isInteger(executors) || executors < 1 || executors > MAX_EXECUTORS) {
    const message = `executors: wanted 1 to ${MAX_EXECUTORS}, seen ${executors}`
    throw new LaunchError('EXECUTORS', message)
  }
  if (image.manifest.entry.executor === undefined) {
    throw new LaunchError('EXECUTORS', 'the image has no entry.executor: it runs as one instance')
  }
  if (enclosure.confinement === 'none') {
    const why = 'without a sandbox all instances would have one network, the host\u2019s own'
    throw new LaunchError('SANDBOX', `no executors: ${why}`)
  }
}

/** Why an executor ended that was not told to. */
interface Loss {
  readonly why: string
  /** Whether it said so itself: before its program began, that it was refused. */
  readonly isRefusal: boolean
}

/** The executors of a run. */
class Team {
  /** Set when the driver needs nobody any more. */
  isOver = false
  lastLoss = 'none was started'
  readonly #options: TogetherOptions
  readonly #prepared: Prepared
  readonly #switchboard: Switchboard
  readonly #onNobody: () => void
  readonly #call = new AbortController()
  readonly #running = new Set<Promise<void>>()
  #number = 0

  constructor(
    options: TogetherOptions,
    prepared: Prepared,
    switchboard: Switchboard,
    onNobody: () => void,
  ) {
    this.#options = options
    this.#prepared = prepared
    this.#switchboard = switchboard
    this.#onNobody = onNobody
  }

  /** Starts as many as are wanted. */
  begin(runId: string): void {
    for (let count = 0; count < this.#options.executors; count += 1) this.#start(runId)
  }

  /** Ends those that still run. */
  async end(): Promise<void> {
    this.isOver = true
    this.#call.abort()
    await Promise.all(this.#running)
  }

  #start(runId: string): void {
    const { executors } = this.#options
    this.#number += 1
    const place = { role: 'executor', executors, number: this.#number, runId } as const
    const running = this.#follow(place).finally(() => {
      this.#running.delete(running)
    })
    this.#running.add(running)
  }

  async #follow(place: Extract<Place, { role: 'executor' }>): Promise<void> {
    const { onEvent, executors } = this.#options
    const name = executorName(place.number)
    let hasBegun = false
    const watch = (event: LaunchEvent) => {
      if (event.kind === 'step' && event.step === 'program-started') hasBegun = true
      if (event.kind === 'step') onEvent({ kind: 'executor', name, step: event.step })
      if (event.kind === 'started') onEvent({ kind: 'executor', name, pid: event.pid })
      if (event.kind === 'warning') {
        onEvent({ ...event, message: `${name}: ${event.message}` })
      }
    }
    const loss = await this.#lossOf(place, watch)
    if (loss === undefined || this.isOver) return
    this.lastLoss = `${name}: ${loss.why}`
    const code = loss.isRefusal && !hasBegun ? 'EXECUTOR_REFUSED' : 'EXECUTOR_LOST'
    onEvent({ kind: 'warning', code, message: this.lastLoss })
    // Whoever was refused would be again.
    const isWorthwhile = code === 'EXECUTOR_LOST' && this.#number < numbersOf(executors)
    if (isWorthwhile) this.#start(place.runId)
    else if (this.#running.size === 1) this.#onNobody()
  }

  /** Why an executor ended that was not told to; undefined of one that was. */
  async #lossOf(place: Place, onEvent: (event: LaunchEvent) => void): Promise<Loss | undefined> {
    const among = { place, switchboard: this.#switchboard }
    // What executors print is for people, and the job's own output is the driver's.
    const stderr = this.#options.stderr ?? process.stderr
    try {
      const end = await launchInstance(
        {
          ...this.#options,
          ...{ among, onEvent, signal: this.#call.signal, passOnSignals: false },
          ...{ stdin: new PassThrough().end(), stdout: stderr, stderr },
        },
        this.#prepared,
      )
      if (end.outcome !== 'failed') return undefined
      const { code, message, reasons } = end.failure
      const why = [`${code}: ${message}`, ...reasons.map(reason => reason.message)].join('; ')
      return { why, isRefusal: true }
    } catch (error) {
      const why = error instanceof Error ? error.message : 'it could not be started'
      return { why, isRefusal: false }
    }
  }
}
