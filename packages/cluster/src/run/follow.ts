import { setTimeout as sleep } from 'node:timers/promises'
import { ClusterError, RunError } from '../errors.ts'
import type { Connection, Query } from '../kubernetes/connection.ts'
import { recordOf, textOf } from '../kubernetes/json.ts'
import { selectorOf } from '../kubernetes/selector.ts'
import { type Watched, watchObjects } from '../kubernetes/watch.ts'
import { type FoundRun, findRun, isDriverOf, KIND_OF, standsFor, uidOf } from './find.ts'
import { RUN_LABEL } from './labels.ts'
import { applicationStateOf, conditionOf, executorsOf, stateOf } from './list.ts'
import { followLog, type LoggedPod } from './log.ts'
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
  /** Which run of that name, as {@link submitRun} says; the one that there is unless told. */
  readonly uid?: string
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
  const { connection, namespace, name, uid } = options
  const run = await findRun(connection, namespace, name)
  if (uid !== undefined && uidOf(run.object) !== uid) {
    throw new RunError('LOST', 'the run was removed, and there is another of its name')
  }
  return await new Following(options, run).toTheEnd()
}

class Following {
  readonly #options: FollowOptions
  readonly #run: FoundRun
  /** Kinds and names of what has pods made, and is told of where there are none. */
  readonly #makers: readonly (readonly [string, string])[]
  readonly #over = new AbortController()
  readonly #told = new Set<string>()
  /** Whether the cluster has said which pods there are. */
  #hasPods = false
  /** The driver's among them, and none that another run of the name left. */
  #driver: RunPod | undefined
  /** What stands for the run, if it is there still, as it was last seen. */
  #found: { readonly object: Watched | undefined } | undefined
  #log: Promise<void> | undefined
  #logged: (LoggedPod & Pick<RunPod, 'uid'>) | undefined
  #replaced = new AbortController()
  #isAway = false
  #hadDriver = false
  #hasSettled = false
  /** Whose end is not the run's: the driver's pod, where the run was suspended. */
  #suspended: string | undefined
  #isDriverLate = false
  #settle: (end: RunError | 'well' | 'stopped') => void = () => {}

  constructor(options: FollowOptions, run: FoundRun) {
    this.#options = options
    this.#run = run
    const { form, object } = run
    const { name } = options
    this.#makers = [
      ...(form === 'spark-submit' ? [] : [[KIND_OF[form], name] as const]),
      ...(executorsOf(object) > 0 ? [['Job', `${name}-executor`] as const] : []),
    ]
  }

  async toTheEnd(): Promise<boolean> {
    const { signal } = this.#options
    const settled = new Promise<RunError | 'well' | 'stopped'>(resolve => {
      this.#settle = end => {
        this.#hasSettled = true
        resolve(end)
      }
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
    await this.#watch('Pod', { labelSelector: selectorOf({ [RUN_LABEL]: name }) }, pods => {
      const own = pods
        .filter(pod => !standsFor(name, pod) || isDriverOf(this.#run, pod))
        .map(runPodFrom)
      this.#takeDriver(own.find(({ role }) => role === 'driver'))
      this.#hasPods = true
      for (const pod of own) this.#tellOf(pod)
      this.#look()
      this.#followLog()
      this.#tellOfMissing()
    })
  }

  #takeDriver(driver: RunPod | undefined): void {
    const before = this.#logged
    if (driver !== undefined && (before === undefined || driver.uid !== before.uid)) {
      this.#replaced.abort()
      this.#replaced = new AbortController()
      const { container, name, uid } = driver
      this.#logged = { container, name, uid, replaced: this.#replaced.signal }
    }
    this.#driver = driver
    this.#hadDriver ||= driver !== undefined
  }

  async #watchRun(): Promise<void> {
    const { name } = this.#options
    const { form, object: run } = this.#run
    await this.#watch(KIND_OF[form], { fieldSelector: `metadata.name=${name}` }, objects => {
      const object = objects.find(one => uidOf(one) === uidOf(run))
      this.#found = { object }
      this.#tellOfOperator(object)
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

  #tellOfMissing(): void {
    const run = this.#found?.object
    if (!this.#isDriverLate || !this.#hasPods || this.#hadDriver || run === undefined) return
    const { form } = this.#run
    const text = stateOf(form, run) === 'held' ? HELD : MISSING[form]
    if (text === undefined) return
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

  #followLog(): void {
    const driver = this.#driver
    if (this.#log !== undefined || driver === undefined) return
    if (!driver.isRunning && driver.ended === undefined) return
    const { connection, namespace, onLog, pauseMs = 1000, signal } = this.#options
    this.#log = followLog({
      ...{ connection, namespace, pauseMs, pod: () => this.#driver && this.#logged, onLine: onLog },
      signal: AbortSignal.any([signal, this.#over.signal]),
      hasEnded: () => this.#hasSettled,
      onFailure: ({ message }) =>
        this.#trouble({ code: 'LOG', message: `the driver’s log cannot be read: ${message}` }),
    })
  }

  #look(): void {
    if (!this.#hasPods || this.#found === undefined) return
    const { object } = this.#found
    const { form } = this.#run
    const driver = this.#driver
    if (object !== undefined && driver?.isGoing === true) {
      // It is taken off its machine, and another is made when the run is resumed.
      if (stateOf(form, object) === 'held') this.#suspended = driver.uid
      if (this.#suspended === driver.uid) return
    }
    const end =
      driver === undefined ? endByRun(form, object, this.#hadDriver) : endByPod(driver, object)
    if (end !== undefined) this.#settle(end)
  }
}

/** Whoever runs the cluster might go on for ever. */
const MOST_TOLD = 1000

/** So it stays, too, where whoever began it was ended before the run was all there. */
const HELD = 'the run is held (spec.suspend)'

/** Why else it may be missing. Of a Job's pods its events tell; Spark's tools may not be there at all. */
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
