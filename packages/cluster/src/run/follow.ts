import { setTimeout as sleep } from 'node:timers/promises'
import { ClusterError, RunError } from '../errors.ts'
import type { Connection, Query } from '../kubernetes/connection.ts'
import { recordOf, textOf } from '../kubernetes/json.ts'
import { type Watched, watchObjects } from '../kubernetes/watch.ts'
import { findRun, KIND_OF } from './find.ts'
import { RUN_LABEL } from './labels.ts'
import { applicationStateOf, conditionOf, executorsOf, stateOf } from './list.ts'
import { followLog } from './log.ts'
import { pathOf } from './paths.ts'
import type { RunForm } from './plan.ts'
import { type RunPod, runPodFrom, type Trouble } from './pods.ts'

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
  /** Without a driver's pod for so long, why it may be missing is told; 30,000 unless told. */
  readonly driverMs?: number
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
  const { form, object } = await findRun(connection, namespace, name)
  const following = new Following(options, form, executorsOf(object))
  return await following.toTheEnd()
}

class Following {
  readonly #options: FollowOptions
  readonly #form: RunForm
  /** Kinds and names of what has pods made, and is told of where there are none. */
  readonly #makers: readonly (readonly [string, string])[]
  readonly #over = new AbortController()
  readonly #told = new Set<string>()
  /** Undefined until the cluster has said which there are. */
  #pods: readonly RunPod[] | undefined
  #found: readonly Watched[] | undefined
  #log: Promise<void> | undefined
  #isAway = false
  #hadDriver = false
  #isDriverLate = false
  #settle: (end: RunError | 'well' | 'stopped') => void = () => {}

  constructor(options: FollowOptions, form: RunForm, executors: number) {
    this.#options = options
    this.#form = form
    const { name } = options
    this.#makers = [
      ...(form === 'spark-submit' ? [] : [[KIND_OF[form], name] as const]),
      ...(executors > 0 ? [['Job', `${name}-executor`] as const] : []),
    ]
  }

  async toTheEnd(): Promise<boolean> {
    const { signal } = this.#options
    const settled = new Promise<RunError | 'well' | 'stopped'>(resolve => {
      this.#settle = resolve
    })
    const stop = () => this.#settle('stopped')
    signal.addEventListener('abort', stop)
    if (signal.aborted) stop()
    const watches = Promise.all([this.#watchPods(), this.#watchRun(), ...this.#watchEvents()])
    void this.#missDriver()
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
      this.#hadDriver ||= this.#driver !== undefined
      for (const pod of this.#pods) this.#tellOf(pod)
      this.#followLog()
      this.#tellOfMissing()
      this.#look()
    })
  }

  async #watchRun(): Promise<void> {
    const { name } = this.#options
    await this.#watch(KIND_OF[this.#form], { fieldSelector: `metadata.name=${name}` }, objects => {
      this.#found = objects
      this.#tellOfOperator(objects[0])
      this.#tellOfMissing()
      this.#look()
    })
  }

  #tellOfOperator(object: Watched | undefined): void {
    if (object === undefined || applicationStateOf(object) !== 'SUBMISSION_FAILED') return
    const message = `the Spark operator made no driver: ${errorMessageOf(object)}`
    this.#trouble({ code: 'OPERATOR', message })
  }

  async #missDriver(): Promise<void> {
    const { driverMs = 30_000 } = this.#options
    await sleep(driverMs, undefined, { signal: this.#over.signal }).catch(() => undefined)
    this.#isDriverLate = true
    this.#tellOfMissing()
  }

  /** Of a Job's pods its events tell. Spark's tools may not be there at all. */
  #tellOfMissing(): void {
    const text = MISSING[this.#form]
    const [run] = this.#found ?? []
    if (!this.#isDriverLate || this.#pods === undefined || this.#hadDriver) return
    if (text === undefined || run === undefined) return
    const state = applicationStateOf(run)
    const seen = state === '' ? '' : `; the Spark operator says ${state}`
    const { name } = this.#options
    this.#trouble({ code: 'NO_DRIVER', message: `${name} has no driver’s pod: ${text}${seen}` })
  }

  /** Why there are no pods, nobody else says. */
  #watchEvents(): readonly Promise<void>[] {
    return this.#makers.map(async ([kind, maker]) => {
      const fieldSelector = `involvedObject.kind=${kind},involvedObject.name=${maker},type=Warning`
      try {
        await this.#watch('Event', { fieldSelector }, events => {
          for (const event of events) {
            const message = `${maker}: ${textOf(event['reason'])}: ${textOf(event['message'])}`
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
      container: driver.container,
      signal: AbortSignal.any([signal, this.#over.signal]),
      hasEnded: () => this.#driver === undefined || this.#driver.ended !== undefined,
      onFailure: ({ message }) =>
        this.#trouble({ code: 'LOG', message: `the driver’s log cannot be read: ${message}` }),
    })
  }

  #look(): void {
    if (this.#pods === undefined || this.#found === undefined) return
    const [object] = this.#found
    const driver = this.#driver
    const end =
      driver === undefined
        ? endByRun(this.#form, object, this.#hadDriver)
        : endByPod(driver, object)
    if (end !== undefined) this.#settle(end)
  }
}

/** Whoever runs the cluster might go on for ever. */
const MOST_TOLD = 1000

/** Why a driver's pod may be missing, where nothing but Spark's tools makes it. */
const MISSING: Readonly<Record<RunForm, string | undefined>> = {
  job: undefined,
  'spark-application': 'the Spark operator has made none yet',
  'spark-submit': 'spark-submit makes it',
}

function endByPod(driver: RunPod, run: Watched | undefined): RunError | 'well' | undefined {
  const { ended, failedBefore, name, phase, troubles } = driver
  if (ended?.exitCode === 0) return 'well'
  if (ended !== undefined) {
    const isCode = ended.exitCode > 0 && ended.exitCode < 256
    const message = `${name} ended with ${ended.exitCode} (${ended.reason})`
    return new RunError('DRIVER', message, isCode ? ended.exitCode : undefined)
  }
  if (phase !== 'Failed' && run !== undefined) return undefined
  const eviction = troubles.find(({ code }) => code === 'EVICTED')
  if (eviction !== undefined) return new RunError('EVICTED', eviction.message)
  if (failedBefore !== undefined) return new RunError('DRIVER', `${name}: ${failedBefore}`)
  const what = run === undefined ? 'the run was removed' : `${name} failed`
  return new RunError('LOST', `${what}, and nobody says how the driver ended`)
}

function endByRun(
  form: RunForm,
  run: Watched | undefined,
  hadDriver: boolean,
): RunError | 'well' | undefined {
  if (run === undefined) return new RunError('LOST', 'the run was removed')
  if (form === 'spark-submit') {
    return hadDriver ? new RunError('LOST', 'the driver’s pod was removed') : undefined
  }
  const state = stateOf(form, run)
  if (state === 'completed') return 'well'
  if (state !== 'failed') return undefined
  if (form === 'spark-application') {
    const message = `there is no driver’s pod, and the Spark operator says: ${errorMessageOf(run)}`
    return new RunError('LOST', message)
  }
  const { message, reason } = conditionOf(run, 'Failed')
  const why = textOf(message) ?? textOf(reason) ?? 'no reason given'
  return new RunError('LOST', `the driver’s pod is gone, and its job failed: ${why}`)
}

function errorMessageOf(application: Watched): string {
  const { applicationState } = recordOf(application['status'])
  return textOf(recordOf(applicationState)['errorMessage']) ?? 'no reason given'
}
