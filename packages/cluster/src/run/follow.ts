import { setTimeout as sleep } from 'node:timers/promises'
import { ClusterError, RunError } from '../errors.ts'
import type { Connection, Query } from '../kubernetes/connection.ts'
import { recordOf, textOf } from '../kubernetes/json.ts'
import { type Watched, watchObjects } from '../kubernetes/watch.ts'
import { RUN_LABEL } from './labels.ts'
import { conditionOf, executorsOf, type RunState, stateOf } from './list.ts'
import { followLog } from './log.ts'
import { pathOf } from './paths.ts'
import { type RunPod, runPodFrom, type Trouble } from './pods.ts'
import { readRun } from './submit.ts'

/** What is told of a run while it is followed. All text is the cluster's word, and may hold anything. */
export type RunEvent =
  | { readonly kind: 'pod'; readonly pod: string; readonly state: string }
  | ({ readonly kind: 'trouble' } & Trouble)
  | { readonly kind: 'away'; readonly message: string }
  | { readonly kind: 'back' }

/** Which run, and who is told of it. */
export interface FollowOptions {
  readonly connection: Connection
  readonly namespace: string
  readonly name: string
  /** Ends the following; the run goes on. */
  readonly signal: AbortSignal
  readonly onEvent: (event: RunEvent) => void
  /** The driver's log, line by line. */
  readonly onLog: (line: string) => void
  /** Between two tries to reach the cluster; 1,000 unless told. */
  readonly pauseMs?: number
}

/** What is said last may still be on its way when the driver has ended. */
const LOG_MS = 30_000

/**
 * Follows a run to its end, also one that has ended.
 * @returns whether it ended, and did so well: false where the signal aborted first
 * @throws RunError how it ended otherwise: `DRIVER` with the driver's exit code, `EVICTED`, `LOST`
 * @throws ClusterError; `ABSENT` where there is no run of that name
 */
export async function followRun(options: FollowOptions): Promise<boolean> {
  const { connection, namespace, name } = options
  const job = await readRun(connection, namespace, name)
  const following = new Following(options, executorsOf(recordOf(job)))
  return await following.toTheEnd()
}

class Following {
  readonly #options: FollowOptions
  readonly #jobs: readonly string[]
  readonly #over = new AbortController()
  readonly #told = new Set<string>()
  /** Undefined until the cluster has said which there are. */
  #pods: readonly RunPod[] | undefined
  #found: readonly Watched[] | undefined
  #log: Promise<void> | undefined
  #isAway = false
  #settle: (end: RunError | 'well' | 'stopped') => void = () => {}

  constructor(options: FollowOptions, executors: number) {
    this.#options = options
    const { name } = options
    this.#jobs = [name, ...(executors > 0 ? [`${name}-executor`] : [])]
  }

  async toTheEnd(): Promise<boolean> {
    const { signal } = this.#options
    const settled = new Promise<RunError | 'well' | 'stopped'>(resolve => {
      this.#settle = resolve
    })
    const stop = () => this.#settle('stopped')
    signal.addEventListener('abort', stop)
    if (signal.aborted) stop()
    const watches = Promise.all([this.#watchPods(), this.#watchJob(), ...this.#watchEvents()])
    try {
      // A watch ends by itself only where it fails.
      const end = await Promise.race([settled, watches.then(() => settled)])
      if (end === 'stopped') return false
      await this.#restOfLog()
      if (end !== 'well') throw end
      return true
    } finally {
      signal.removeEventListener('abort', stop)
      this.#over.abort()
      await Promise.allSettled([watches, this.#log])
    }
  }

  async #restOfLog(): Promise<void> {
    const late = new AbortController()
    const patience = sleep(LOG_MS, undefined, { signal: late.signal }).catch(() => undefined)
    await Promise.race([this.#log, patience])
    late.abort()
  }

  async #watchPods(): Promise<void> {
    const { name } = this.#options
    await this.#watch('Pod', { labelSelector: `${RUN_LABEL}=${name}` }, pods => {
      this.#pods = pods.map(runPodFrom)
      for (const pod of this.#pods) this.#tellOf(pod)
      this.#followLog()
      this.#look()
    })
  }

  async #watchJob(): Promise<void> {
    const { name } = this.#options
    await this.#watch('Job', { fieldSelector: `metadata.name=${name}` }, jobs => {
      this.#found = jobs
      this.#look()
    })
  }

  /** Why a job has no pods, nobody else says. */
  #watchEvents(): readonly Promise<void>[] {
    return this.#jobs.map(async job => {
      const fieldSelector = `involvedObject.kind=Job,involvedObject.name=${job},type=Warning`
      try {
        await this.#watch('Event', { fieldSelector }, events => {
          for (const event of events) {
            const message = `${job}: ${textOf(event['reason'])}: ${textOf(event['message'])}`
            this.#trouble({ code: 'PODS', message })
          }
        })
      } catch (error) {
        if (!(error instanceof ClusterError) || error.code !== 'REFUSED') throw error
        this.#trouble({ code: 'EVENTS', message: error.message })
      }
    })
  }

  async #watch(
    kind: string,
    query: Query,
    onObjects: (objects: readonly Watched[]) => void,
  ): Promise<void> {
    const { connection, namespace, pauseMs, signal } = this.#options
    await watchObjects({
      ...{ connection, query, onObjects, path: pathOf(namespace, kind) },
      ...(pauseMs === undefined ? {} : { pauseMs }),
      signal: AbortSignal.any([signal, this.#over.signal]),
      onAway: error => this.#takeAway(error),
    })
  }

  #takeAway(error: ClusterError | undefined): void {
    if (this.#isAway === (error !== undefined)) return
    this.#isAway = error !== undefined
    const { onEvent } = this.#options
    onEvent(error === undefined ? { kind: 'back' } : { kind: 'away', message: error.message })
  }

  #tellOf({ name, node, isRunning, ended, phase, troubles }: RunPod): void {
    const place = node === undefined ? '' : ` on ${node}`
    const state = ended === undefined ? (isRunning ? `runs${place}` : '') : `ended`
    if (state !== '') this.#once(`${name} ${state}`, { kind: 'pod', pod: name, state })
    else if (phase === 'Pending' && node !== undefined) {
      this.#once(`${name} starts`, { kind: 'pod', pod: name, state: `starts${place}` })
    }
    for (const trouble of troubles) this.#trouble(trouble)
  }

  #trouble(trouble: Trouble): void {
    this.#once(`${trouble.code} ${trouble.message}`, { kind: 'trouble', ...trouble })
  }

  #once(key: string, event: RunEvent): void {
    if (this.#told.has(key) || this.#told.size >= MOST_TOLD) return
    this.#told.add(key)
    this.#options.onEvent(event)
  }

  get #driver(): RunPod | undefined {
    return this.#pods?.find(({ role }) => role === 'driver')
  }

  #followLog(): void {
    const driver = this.#driver
    if (this.#log !== undefined || driver === undefined) return
    if (!driver.isRunning && driver.ended === undefined) return
    const { connection, namespace, onLog, pauseMs = 1000, signal } = this.#options
    this.#log = followLog({
      ...{ connection, namespace, pauseMs, pod: driver.name, onLine: onLog },
      signal: AbortSignal.any([signal, this.#over.signal]),
      hasEnded: () => this.#driver === undefined || this.#driver.ended !== undefined,
      onFailure: ({ message }) =>
        this.#trouble({ code: 'LOG', message: `the driver’s log cannot be read: ${message}` }),
    })
  }

  #look(): void {
    if (this.#pods === undefined || this.#found === undefined) return
    const [job] = this.#found
    const end = this.#driver === undefined ? endByJob(job) : endByPod(this.#driver, job)
    if (end !== undefined) this.#settle(end)
  }
}

/** Whoever runs the cluster might go on for ever. */
const MOST_TOLD = 1000

function endByPod(driver: RunPod, job: Watched | undefined): RunError | 'well' | undefined {
  const { ended, failedBefore, name, phase, troubles } = driver
  if (ended?.exitCode === 0) return 'well'
  if (ended !== undefined) {
    const isCode = ended.exitCode > 0 && ended.exitCode < 256
    const message = `${name} ended with ${ended.exitCode} (${ended.reason})`
    return new RunError('DRIVER', message, isCode ? ended.exitCode : undefined)
  }
  if (phase !== 'Failed' && job !== undefined) return undefined
  const eviction = troubles.find(({ code }) => code === 'EVICTED')
  if (eviction !== undefined) return new RunError('EVICTED', eviction.message)
  if (failedBefore !== undefined) return new RunError('DRIVER', `${name}: ${failedBefore}`)
  const what = job === undefined ? 'the run was removed' : `${name} failed`
  return new RunError('LOST', `${what}, and nobody says how the driver ended`)
}

function endByJob(job: Watched | undefined): RunError | 'well' | undefined {
  if (job === undefined) return new RunError('LOST', 'the run was removed')
  const state: RunState = stateOf(job)
  if (state === 'completed') return 'well'
  if (state !== 'failed') return undefined
  const { message, reason } = conditionOf(job, 'Failed')
  const why = textOf(message) ?? textOf(reason) ?? 'no reason given'
  return new RunError('LOST', `the driver’s pod is gone, and its job failed: ${why}`)
}
