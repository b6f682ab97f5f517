import { randomBytes } from 'node:crypto'
import type { Socket } from 'node:net'
import { DRIVER, executorName, numbersOf } from '../../instance/together.ts'
import type { LaunchEvent } from '../event.ts'
import { SENT_AWAY_MS } from '../executor.ts'
import type { Switchboard } from '../switchboard.ts'
import { encodeHostAddress, type HostAddress, plainAddress } from './address.ts'
import { Control, SILENCE_MS } from './control.ts'
import { dial } from './dial.ts'
import { Directory, type Elsewhere } from './directory.ts'
import { type Door, openDoor } from './door.ts'
import { Fetches } from './fetches.ts'
import type { Greeting, Offer } from './greeting.ts'
import {
  type FromDriverOf,
  type FromExecutor,
  parseFromExecutor,
  type RunOutcome,
} from './message.ts'
import { type ListeningOptions, WAIT_MS, warnOfStrangers } from './options.ts'

/** Most hosts that wait for a place. */
const MAX_LISTED = 128

/** Most steps that are told of one executor. */
const MAX_STEPS = 16

/** What the executors of other hosts are led by. */
export interface CalledInOptions {
  readonly hosts: ListeningOptions
  readonly executors: number
  /** SHA-256 of the job's statement, in hexadecimal. */
  readonly jobDigest: string
  readonly onEvent: (event: LaunchEvent) => void
  /** Called when the driver has nobody to wait for. */
  readonly onNobody: () => void
}

type Refusal = Omit<FromDriverOf<'refused'>, 'kind'>

/** An executor at work on another host. */
interface Work {
  readonly name: string
  hasBegun: boolean
  steps: number
}

/** A host that has called in. */
interface Host {
  readonly id: string
  readonly from: string
  readonly address: HostAddress | undefined
  readonly control: Control<FromExecutor>
  work: Work | undefined
}

/**
 * The executors of a run, on hosts that call in. Each that offers itself for this job is listed, and
 * given a place when one is free; one that is lost makes its place free. A host whose executor was
 * refused gets no other place in this run.
 */
export class CalledIn {
  isOver = false
  lastLoss = 'no host has called in'
  readonly #options: CalledInOptions
  readonly #directory = new Directory()
  readonly #fetches = new Fetches()
  readonly #hosts = new Set<Host>()
  readonly #listed: Host[] = []
  readonly #refused = new Set<string>()
  readonly #ticket = randomBytes(16).toString('hex')
  #switchboard: Switchboard | undefined
  #door: Door | undefined
  #patience: NodeJS.Timeout | undefined
  #runId: string | undefined
  #number = 0
  /** Executors that the driver still has to do with. */
  #wanted: number

  constructor(options: CalledInOptions) {
    this.#options = options
    this.#wanted = options.executors
  }

  /** Listens. @throws Error of the system's */
  async open(switchboard: Switchboard): Promise<void> {
    this.#switchboard = switchboard
    const { hosts, onEvent } = this.#options
    const { listen, secret, advertise } = hosts
    warnOfStrangers(hosts, onEvent)
    const onCaller = (greeting: Greeting, socket: Socket) => this.#meet(greeting, socket)
    this.#door = await openDoor({ listen, secret, called: 'driver', onCaller })
    onEvent({ kind: 'listening', address: encodeHostAddress(advertise ?? this.#door.address) })
  }

  /** Gives places to those that have called in, and will. */
  begin(runId: string): void {
    this.#runId = runId
    this.#fill()
  }

  /** A connection to an executor of another host. @throws Error where its host is not there */
  async reach(name: string): Promise<Socket | undefined> {
    const address = this.#directory.get(name)?.address
    const { secret } = this.#options.hosts
    const greeting: Greeting = { kind: 'peer', name, ticket: this.#ticket }
    const socket =
      address === undefined
        ? await this.#fetch(name)
        : await dial({ address, called: 'executor', secret }, greeting)
    return socket !== undefined && this.#directory.keep(name, socket) ? socket : undefined
  }

  /** Tells all how the run ended, and listens no more. */
  async end(outcome: RunOutcome): Promise<void> {
    this.isOver = true
    clearTimeout(this.#patience)
    const told = [...this.#hosts].map(({ control }) => control.end({ kind: 'over', outcome }))
    await Promise.all(told)
    this.#door?.close()
  }

  #meet(greeting: Greeting, socket: Socket): void {
    switch (greeting.kind) {
      case 'join':
        this.#list(greeting.offer, socket)
        return
      case 'take':
        this.#fetches.take(greeting.token, socket)
        return
      case 'peer':
        this.#lead(greeting.name, greeting.ticket, socket)
    }
  }

  /** Leads an executor of another host to the driver, or to one whose host is not called. */
  #lead(name: string, ticket: string, socket: Socket): void {
    const bearer = this.#directory.bearerOf(ticket)
    if (bearer === undefined || !this.#directory.keep(bearer, socket)) {
      socket.destroy()
      return
    }
    // Whoever can be called is, by everybody: a host that gave this one's address makes no circle.
    const isCalled = this.#directory.get(name)?.address !== undefined
    if (name === DRIVER) this.#switchboard?.arrive(name, socket)
    else if (isCalled) socket.destroy()
    else this.#switchboard?.join(socket, this.reach(name))
  }

  async #fetch(name: string): Promise<Socket | undefined> {
    const host = [...this.#hosts].find(({ work }) => work?.name === name)
    if (host === undefined) return undefined
    return await this.#fetches.next(token => host.control.send({ kind: 'fetch', token }))
  }

  #list(offer: Offer, socket: Socket): void {
    const from = plainAddress(socket.remoteAddress ?? '')
    const control = new Control<FromExecutor>(socket, {
      parse: parseFromExecutor,
      onMessage: message => this.#hear(host, message),
      onEnd: why => this.#lose(host, why),
      silenceMs: this.#options.hosts.silenceMs ?? SILENCE_MS,
    })
    const { id, listens } = offer
    const address = listens && { host: listens.host ?? from, port: listens.port }
    const host: Host = { id, from, address, control, work: undefined }
    const refusal = this.#refusalOf(offer, from)
    if (refusal !== undefined) {
      void control.end({ kind: 'refused', ...refusal })
      return
    }
    this.#hosts.add(host)
    this.#listed.push(host)
    control.send({ kind: 'listed' })
    this.#fill()
  }

  #refusalOf({ job, id, listens }: Offer, from: string): Refusal | undefined {
    const { jobDigest, hosts } = this.#options
    if (this.isOver) return { code: 'OVER', message: 'this run is over' }
    if (job !== jobDigest) {
      // Strangers are not told which one it is.
      const message = `the job: wanted this run's, seen ${job}`
      return { code: 'JOB', message }
    }
    if (this.#refused.has(id)) {
      const message = 'its executor was refused in this run'
      return { code: 'EXECUTOR_REFUSED', message }
    }
    if (listens?.host !== undefined && listens.host !== from && hosts.secret === undefined) {
      const message = `without a secret of the hosts, an executor is called where it calls from: wanted ${from}, seen ${listens.host}`
      return { code: 'ADDRESS', message }
    }
    if (this.#hosts.size < MAX_LISTED) return undefined
    return { code: 'FULL', message: `${MAX_LISTED} hosts are here already` }
  }

  /** Fills free places. */
  #fill(): void {
    clearTimeout(this.#patience)
    if (this.#runId === undefined || this.isOver) return
    const most = numbersOf(this.#options.executors)
    while (this.#working().length < this.#wanted && this.#number < most) {
      const host = this.#listed.shift()
      if (host === undefined) break
      this.#place(host, this.#runId)
    }
    if (this.#wanted === 0 || this.#working().length > 0) return
    if (this.#number >= most) {
      this.#options.onNobody()
      return
    }
    this.#patience = setTimeout(() => {
      // By itself the driver needs nobody any more.
      if (!this.isOver) this.#options.onNobody()
    }, this.#options.hosts.waitMs ?? WAIT_MS)
  }

  #working(): readonly (Host & { readonly work: Work })[] {
    return [...this.#hosts].filter(
      (host): host is Host & { readonly work: Work } => host.work !== undefined,
    )
  }

  #place(host: Host, runId: string): void {
    this.#number += 1
    const number = this.#number
    const { executors, hosts, onEvent } = this.#options
    const name = executorName(number)
    const ticket = randomBytes(16).toString('hex')
    const { control, address, from } = host
    // The others know of it before it calls any of them.
    for (const { control: other, work } of this.#working()) {
      other.send(introduction(name, { ticket, address }))
      const known = this.#directory.get(work.name)
      if (known !== undefined) control.send(introduction(work.name, known))
    }
    control.send(introduction(DRIVER, { ticket: this.#ticket, address: hosts.advertise }))
    this.#directory.add(name, { ticket, address })
    host.work = { name, hasBegun: false, steps: 0 }
    control.send({ kind: 'place', executors, number, runId, ticket })
    onEvent({ kind: 'executor', name, host: from })
  }

  #hear(host: Host, message: FromExecutor): void {
    const { work } = host
    if (work === undefined || message.kind === 'beat') return
    if (message.kind === 'step') {
      work.steps += 1
      if (message.step === 'program-started') work.hasBegun = true
      if (work.steps > MAX_STEPS) return
      this.#options.onEvent({ kind: 'executor', name: work.name, step: message.step })
      return
    }
    this.#free(host)
    if (message.how === 'served') {
      this.#wanted -= 1
      this.#fill()
      setTimeout(() => this.#wantAgain(host), SENT_AWAY_MS).unref()
      return
    }
    const isRefusal = message.how === 'refused' && !work.hasBegun
    if (isRefusal) this.#refused.add(host.id)
    else this.#listed.push(host)
    this.#tellLoss(work, isRefusal ? 'EXECUTOR_REFUSED' : 'EXECUTOR_LOST', message.why)
  }

  /** Has a host take a place anew whose executor was sent away by a driver that goes on. */
  #wantAgain(host: Host): void {
    const hasNumbers = this.#number < numbersOf(this.#options.executors)
    if (this.isOver || !this.#hosts.has(host) || !hasNumbers) return
    this.#wanted += 1
    this.#listed.push(host)
    this.#fill()
  }

  #lose(host: Host, why: string): void {
    this.#hosts.delete(host)
    const at = this.#listed.indexOf(host)
    if (at !== -1) this.#listed.splice(at, 1)
    const { work } = host
    if (work === undefined) return
    this.#free(host)
    this.#tellLoss(work, 'EXECUTOR_LOST', `its host ${host.from} is lost: ${why}`)
  }

  #free(host: Host): void {
    const name = host.work?.name ?? ''
    host.work = undefined
    this.#directory.remove(name)
    for (const { control } of this.#working()) control.send({ kind: 'gone', name })
  }

  #tellLoss({ name }: Work, code: 'EXECUTOR_REFUSED' | 'EXECUTOR_LOST', why: string): void {
    if (this.isOver) return
    this.lastLoss = `${name}: ${why}`
    this.#options.onEvent({ kind: 'warning', code, message: this.lastLoss })
    this.#fill()
  }
}

/** Tells of an instance. */
function introduction(name: string, { ticket, address }: Elsewhere): FromDriverOf<'at'> {
  return { kind: 'at', name, ticket, ...(address && { address }) }
}
