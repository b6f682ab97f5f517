import { randomBytes } from 'node:crypto'
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { jobDigest } from '@cloister/kms'
import type { InstanceFailure } from '../../instance/failure.ts'
import { DRIVER, executorName } from '../../instance/together.ts'
import { requireNotAborted } from '../ending.ts'
import { LaunchError } from '../errors.ts'
import type { LaunchEvent } from '../event.ts'
import { requireExecutors, runExecutor } from '../executor.ts'
import type { LaunchOptions } from '../launch.ts'
import { type PreparedJob, prepareJob } from '../prepare.ts'
import { Switchboard } from '../switchboard.ts'
import { encodeHostAddress, type HostAddress } from './address.ts'
import { Control, SILENCE_MS } from './control.ts'
import { dial } from './dial.ts'
import { Directory } from './directory.ts'
import { type Door, openDoor } from './door.ts'
import { Asked } from './fetches.ts'
import type { Greeting, Offer } from './greeting.ts'
import {
  type FromDriver,
  type FromDriverOf,
  parseFromDriver,
  type RunOutcome,
  shortened,
} from './message.ts'
import { type HostsOptions, WAIT_MS, warnOfStrangers } from './options.ts'

/** How long after one call to the driver's host the next is made. */
const AGAIN_MS = 500

/** How often it is told that it is waited for. */
const TELL_MS = 10_000

/** What {@link launchExecutor} needs. */
export interface ExecutorOptions extends Omit<LaunchOptions, 'executors' | 'hosts' | 'stdin'> {
  /** Where the driver's host listens. */
  readonly driver: HostAddress
  readonly hosts?: HostsOptions
  /** What the driver's host knows this process by, 32 hexadecimal digits; drawn unless told. */
  readonly id?: string
  /** Follows a run to its end even where no executor is to be had here. */
  readonly untilOver?: boolean
}

/** What this host did for a run. */
export interface ExecutorResult {
  /** How the run ended; `refused` where that was not waited for. */
  readonly outcome: RunOutcome | 'refused'
  /** Undefined where it came without a place for this host. */
  readonly runId: string | undefined
  /** The executors that were here, one after the other. */
  readonly names: readonly string[]
  /** Why the last one was refused, where it was. */
  readonly failure: InstanceFailure | undefined
}

/**
 * Offers this machine for an executor of a job to the host of its driver, starts one when it is given
 * a place, and follows the run to its end. Nothing but this job, by this image, is ever started.
 * @throws ImageError when the image is not as it was signed
 * @throws LaunchError `DRIVER` when the driver's host is not there, takes none from here or was lost
 */
export async function launchExecutor(options: ExecutorOptions): Promise<ExecutorResult> {
  const { onEvent = () => {}, hosts = {} } = options
  const prepared = await prepareJob(options)
  requireExecutors(prepared.prepared)
  warnOfStrangers(hosts, onEvent)
  return await new ExecutorHost(options, prepared).serve()
}

/** Why the driver's host is to be called once more. */
class NotYet extends Error {}

/** A host that has executors of a run whose driver another has. */
class ExecutorHost {
  readonly #options: ExecutorOptions
  readonly #hosts: HostsOptions
  readonly #prepared: PreparedJob
  readonly #switchboard: Switchboard
  readonly #directory = new Directory()
  readonly #asked = new Asked()
  readonly #names: string[] = []
  readonly #over = new AbortController()
  #control: Control<FromDriver> | undefined
  #settle: (result: ExecutorResult) => void = () => {}
  /** The executor that is here. */
  #work: Promise<void> | undefined
  #ticket = ''
  #runId: string | undefined
  #failure: InstanceFailure | undefined

  constructor(options: ExecutorOptions, prepared: PreparedJob) {
    this.#options = options
    this.#hosts = options.hosts ?? {}
    this.#prepared = prepared
    this.#switchboard = new Switchboard(options.wire, name => this.#reach(name))
  }

  async serve(): Promise<ExecutorResult> {
    const { listen, secret } = this.#hosts
    const onCaller = (greeting: Greeting, socket: Socket) => this.#meet(greeting, socket)
    const door = listen && (await openDoor({ listen, secret, called: 'executor', onCaller }))
    try {
      return await this.#untilTaken(this.#offer(door))
    } finally {
      this.#over.abort()
      await this.#work
      door?.close()
    }
  }

  #offer(door: Door | undefined): Offer {
    const { id = randomBytes(16).toString('hex') } = this.#options
    const job = Buffer.from(jobDigest(this.#prepared.job)).toString('hex')
    const listens = door && { port: door.address.port, ...this.#hosts.advertise }
    return { job, id, listens }
  }

  /** Calls the driver's host until it has this one on its list. */
  async #untilTaken(offer: Offer): Promise<ExecutorResult> {
    const { driver, signal } = this.#options
    const { waitMs = WAIT_MS } = this.#hosts
    const begun = Date.now()
    let tellAt = begun
    for (;;) {
      try {
        return await this.#attend(offer)
      } catch (error) {
        requireNotAborted(signal)
        if (!(error instanceof NotYet)) throw error
        const what = `the driver at ${encodeHostAddress(driver)}`
        const now = Date.now()
        if (now - begun >= waitMs) {
          const message = `${what} took no executor within ${waitMs / 1000} s: ${error.message}`
          throw new LaunchError('DRIVER', message, { cause: error })
        }
        if (now >= tellAt) this.#tell({ kind: 'waiting', message: `${what}: ${error.message}` })
        if (now >= tellAt) tellAt = now + TELL_MS
        await sleep(AGAIN_MS, undefined, { ref: true })
      }
    }
  }

  /** Follows a run from the first word to the last. @throws NotYet, LaunchError */
  async #attend(offer: Offer): Promise<ExecutorResult> {
    const { signal } = this.#options
    const socket = await this.#callDriver({ kind: 'join', offer })
    const aborted = new AbortController()
    let isListed = false
    try {
      return await new Promise<ExecutorResult>((resolve, reject) => {
        this.#settle = resolve
        const abort = () => reject(new LaunchError('ABORTED', 'the launch was called off'))
        signal?.addEventListener('abort', abort, { signal: aborted.signal })
        if (signal?.aborted) abort()
        this.#control = new Control<FromDriver>(socket, {
          parse: parseFromDriver,
          silenceMs: this.#hosts.silenceMs ?? SILENCE_MS,
          onEnd: why => {
            const message = `the driver's host is lost: ${why}`
            reject(isListed ? new LaunchError('DRIVER', message) : new NotYet(why))
          },
          onMessage: message => {
            isListed ||= message.kind === 'listed'
            try {
              this.#hear(message)
            } catch (error) {
              reject(error)
            }
          },
        })
      })
    } finally {
      aborted.abort()
      await this.#control?.end()
    }
  }

  #hear(message: FromDriver): void {
    switch (message.kind) {
      case 'beat':
        return
      case 'listed':
        this.#tell({ kind: 'waiting', message: 'a place: this host is on the list' })
        return
      case 'refused':
        throw refusalOf(message)
      case 'at':
        this.#directory.add(message.name, { ticket: message.ticket, address: message.address })
        return
      case 'gone':
        this.#directory.remove(message.name)
        return
      case 'fetch':
        void this.#bring(message.token)
        return
      case 'place':
        this.#take(message)
        return
      case 'over':
        this.#settle(this.#result(message.outcome))
    }
  }

  #take({ executors, number, runId, ticket }: FromDriverOf<'place'>): void {
    if (this.#work !== undefined) {
      throw new LaunchError('DRIVER', "the driver's host gave this one a second place at a time")
    }
    this.#names.push(executorName(number))
    this.#ticket = ticket
    this.#runId = runId
    this.#work = this.#run({ role: 'executor', executors, number, runId }).finally(() => {
      this.#work = undefined
    })
  }

  async #run(place: Parameters<typeof runExecutor>[2]['place']): Promise<void> {
    const { job, prepared } = this.#prepared
    const onEvent = (event: LaunchEvent) => {
      this.#tell(event)
      if (event.kind !== 'executor' || !('step' in event)) return
      this.#control?.send({ kind: 'step', step: event.step })
    }
    const options = { ...this.#options, job, onEvent, signal: this.#over.signal }
    const end = await runExecutor(options, prepared, { place, switchboard: this.#switchboard })
    if (this.#over.signal.aborted) return
    const why = end.how === 'served' ? '' : shortened(end.why)
    this.#control?.send({ kind: 'ended', how: end.how, why })
    if (end.how === 'served') return
    const code = end.how === 'refused' ? 'EXECUTOR_REFUSED' : 'EXECUTOR_LOST'
    this.#tell({ kind: 'warning', code, message: `${executorName(place.number)}: ${end.why}` })
    if (end.how !== 'refused') return
    this.#failure = end.failure
    if (this.#options.untilOver !== true) this.#settle(this.#result('refused'))
  }

  #result(outcome: ExecutorResult['outcome']): ExecutorResult {
    return { outcome, runId: this.#runId, names: this.#names, failure: this.#failure }
  }

  #tell(event: LaunchEvent): void {
    this.#options.onEvent?.(event)
  }

  /** @throws NotYet; LaunchError `HOSTS_SECRET` */
  async #callDriver(greeting: Greeting): Promise<Socket> {
    const { driver: address, signal } = this.#options
    const { secret } = this.#hosts
    try {
      return await dial({ address, called: 'driver', secret, signal }, greeting)
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause)
      if (secret !== undefined && isAlert(cause)) {
        const message = `the driver's host has another secret of the hosts: ${why}`
        throw new LaunchError('HOSTS_SECRET', message, { cause })
      }
      throw new NotYet(why, { cause })
    }
  }

  /** Connects the instance that is here to another of the run. */
  async #reach(name: string): Promise<Socket | undefined> {
    const { driver } = this.#options
    const { secret } = this.#hosts
    const instance = this.#directory.get(name)
    if (instance === undefined) return undefined
    const greeting = { kind: 'peer', name, ticket: this.#ticket } as const
    // Where its host is not called, the driver's has it call.
    const isCalled = name !== DRIVER && instance.address !== undefined
    const called = isCalled ? 'executor' : 'driver'
    const socket = await dial({ address: instance.address ?? driver, called, secret }, greeting)
    return this.#directory.keep(name, socket) ? socket : undefined
  }

  /** Leads somebody of another host to the instance that is here. */
  #meet(greeting: Greeting, socket: Socket): void {
    const bearer = greeting.kind === 'peer' && this.#directory.bearerOf(greeting.ticket)
    if (greeting.kind !== 'peer' || bearer === false || bearer === undefined) socket.destroy()
    else if (this.#directory.keep(bearer, socket)) this.#switchboard.arrive(greeting.name, socket)
  }

  /** The same for somebody who cannot call here: this host calls in their place. */
  async #bring(token: string): Promise<void> {
    const name = this.#names.at(-1)
    const socket = await this.#asked.make(() => this.#callDriver({ kind: 'take', token }))
    if (name === undefined || socket === undefined) socket?.destroy()
    else if (this.#directory.keep(DRIVER, socket)) this.#switchboard.arrive(name, socket)
  }
}

function refusalOf({ code, message }: FromDriverOf<'refused'>): Error {
  switch (code) {
    case 'JOB':
      return new LaunchError('JOB', `the driver's host runs another job: ${message}`)
    case 'FULL':
    case 'OVER':
      return new NotYet(message)
    case 'ADDRESS':
    case 'EXECUTOR_REFUSED':
      return new LaunchError('DRIVER', `the driver's host takes no executor from here: ${message}`)
  }
}

/** Whether the other end said by TLS that the key is wrong. */
function isAlert(error: unknown): boolean {
  return error instanceof Error && 'code' in error && String(error.code).startsWith('ERR_SSL')
}
