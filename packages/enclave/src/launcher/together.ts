import { setTimeout as sleep } from 'node:timers/promises'
import { jobDigest } from '@cloister/kms'
import { executorName, MAX_EXECUTORS, numbersOf } from '../instance/together.ts'
import { LaunchError } from './errors.ts'
import type { LaunchEvent } from './event.ts'
import { type ExecutorPlace, requireExecutors, runExecutor, SENT_AWAY_MS } from './executor.ts'
import { CalledIn } from './hosts/called-in.ts'
import type { RunOutcome } from './hosts/message.ts'
import {
  type InstanceOptions,
  type InstanceResult,
  launchInstance,
  type Prepared,
} from './instance.ts'
import type { LaunchOptions } from './launch.ts'
import { Switchboard } from './switchboard.ts'

/** A launch of several instances. */
export type TogetherOptions = Omit<InstanceOptions, 'among'> &
  Pick<LaunchOptions, 'hosts'> & { readonly executors: number }

/** The executors of a run, wherever they are. */
interface Executors {
  /** Set when the driver needs nobody any more. */
  isOver: boolean
  /** Why the last one ended that was not told to. */
  readonly lastLoss: string
  /** Starts as many as are wanted. */
  begin(runId: string): void
  /** Ends those that still run. */
  end(outcome: RunOutcome): Promise<void>
}

/**
 * Runs a job as a driver and executors, each in a sandbox and a network of its own, here or on hosts
 * that call in, and connects them. Executors begin when the driver has attested and says which run it
 * is; one that is lost at work is replaced by another, and one that was refused is not.
 * @returns how the driver ended
 * @throws LaunchError `EXECUTORS` when none is left; `SANDBOX` where there is none
 */
export async function launchTogether(
  options: TogetherOptions,
  prepared: Prepared,
): Promise<InstanceResult> {
  requirePossible(options, prepared)
  const { executors, onEvent } = options
  const ended = new AbortController()
  const called = options.signal === undefined ? [] : [options.signal]
  const { switchboard, team } = await gather(options, prepared, () => ended.abort())
  let outcome: RunOutcome = 'failed'
  try {
    const among = { place: { role: 'driver', executors } as const, switchboard }
    const watch = (event: LaunchEvent) => {
      onEvent(event)
      if (event.kind === 'run') team.begin(event.runId)
      if (event.kind === 'step' && event.step === 'program-ended') team.isOver = true
    }
    const result = await launchInstance(
      {
        ...options,
        among,
        onEvent: watch,
        signal: AbortSignal.any([...called, ended.signal]),
      },
      prepared,
    )
    if (result.outcome === 'completed') outcome = 'completed'
    return result
  } catch (error) {
    if (!ended.signal.aborted || options.signal?.aborted === true) throw error
    throw new LaunchError('EXECUTORS', `no executor is left: ${team.lastLoss}`, { cause: error })
  } finally {
    await team.end(outcome)
  }
}

/** The executors of a run, and what connects them with its driver. */
async function gather(options: TogetherOptions, prepared: Prepared, onNobody: () => void) {
  const { hosts, executors, onEvent, job, wire } = options
  if (hosts === undefined) {
    const switchboard = new Switchboard(wire)
    const team: Executors = new Team(options, prepared, switchboard, onNobody)
    return { switchboard, team }
  }
  const digest = Buffer.from(jobDigest(job)).toString('hex')
  const team = new CalledIn({ hosts, executors, jobDigest: digest, onEvent, onNobody })
  const switchboard = new Switchboard(wire, name => team.reach(name))
  await team.open(switchboard)
  return { switchboard, team: team as Executors }
}

function requirePossible({ executors }: TogetherOptions, prepared: Prepared): void {
  if (!Number.isInteger(executors) || executors < 1 || executors > MAX_EXECUTORS) {
    const message = `executors: wanted 1 to ${MAX_EXECUTORS}, seen ${executors}`
    throw new LaunchError('EXECUTORS', message)
  }
  requireExecutors(prepared)
}

/** The executors of a run, on this machine. */
class Team implements Executors {
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

  begin(runId: string): void {
    for (let count = 0; count < this.#options.executors; count += 1) this.#start(runId)
  }

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

  async #follow(place: ExecutorPlace): Promise<void> {
    const { onEvent, executors } = this.#options
    const among = { place, switchboard: this.#switchboard }
    const options = { ...this.#options, signal: this.#call.signal }
    const end = await runExecutor(options, this.#prepared, among)
    if (this.isOver) return
    if (end.how === 'served') {
      await sleep(SENT_AWAY_MS, undefined, { signal: this.#call.signal }).catch(() => {})
      // It waits for its driver, as long as that has to do with nobody.
      if (!this.isOver && this.#number < numbersOf(executors)) this.#start(place.runId)
      return
    }
    this.lastLoss = `${executorName(place.number)}: ${end.why}`
    const code = end.how === 'refused' ? 'EXECUTOR_REFUSED' : 'EXECUTOR_LOST'
    onEvent({ kind: 'warning', code, message: this.lastLoss })
    // Whoever was refused would be again.
    const isWorthwhile = end.how === 'lost' && this.#number < numbersOf(executors)
    if (isWorthwhile) this.#start(place.runId)
    else if (this.#running.size === 1) this.#onNobody()
  }
}
