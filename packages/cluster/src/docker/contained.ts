import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { importSimPlatform } from '@cloister/attestation'
import {
  FrameReader,
  type LaunchEvent,
  openRelay,
  openRelayPort,
  type Relay,
  requireGraminePal,
} from '@cloister/enclave/launcher'
import {
  type RunJobOptions,
  runJobFile,
  runJobOnSgx,
  type ServeJobOptions,
  serveJobFile,
} from '@cloister/engine/job'
import { ContainerError } from './errors.ts'
import { CLIENT_SOCKET, DOOR, DOOR_SOCKET, KMS_SOCKET } from './layout.ts'
import {
  type Ended,
  encodeMessage,
  type FromContainer,
  type Order,
  type ToContainer,
  VERSION,
} from './messages.ts'
import { tellError } from './told-error.ts'

/** Most connections to the key service at a time. */
const MAX_KMS_CONNECTIONS = 64

/** Most connections between executors and the driver at a time, each way. */
const MAX_PEER_CONNECTIONS = 512
const DOOR_MODE = 0o600
const DOOR_PATH = join(DOOR, DOOR_SOCKET)

/** As connections between instances are elsewhere: programs may end what they say, and read on. */
const PEERS = { allowHalfOpen: true } as const

/** How long an instance may take to end once nobody is there any more. */
const ENDING_MS = 10_000

/**
 * The launcher in a container: takes its order from whoever started the container, does it, and ends
 * when that one has gone.
 * @param folder - Where the sockets are that lead out.
 * @throws ContainerError START when nobody is there
 */
export async function runContained(folder: string): Promise<void> {
  const line = await Line.open(join(folder, CLIENT_SOCKET))
  const relay = await openRelayPort({ path: join(folder, KMS_SOCKET) }, MAX_KMS_CONNECTIONS)
  try {
    const order = await line.order()
    const pin = { ...order.pin, url: `https://127.0.0.1:${relay.port}` }
    line.tell(await done({ ...order, pin }, line))
  } catch (error) {
    line.tell({ kind: 'threw', error: tellError(error) })
  } finally {
    relay.close()
    await line.close()
    // Whoever writes to it may go on for ever.
    process.stdin.destroy()
  }
}

async function done(order: Order, line: Line): Promise<FromContainer> {
  const { job, pin, instanceName } = order
  const common = {
    ...{ job, pin, instanceName, passOnSignals: true, signal: line.calledOff },
    onEvent: (event: LaunchEvent) => line.tell({ kind: 'event', event }),
    onVerified: async () => {
      line.tell({ kind: 'verified' })
      await line.told('go')
    },
    // Standard output is the program's; that of a runner of queries is no result.
    ...(job.queries === undefined ? {} : { stdout: process.stderr }),
  }
  if (order.in.tee === 'sgx') {
    const libpal = requireGraminePal(order.in.libpal ?? undefined)
    return { kind: 'ended', end: await runJobOnSgx({ ...common, libpal }) }
  }
  const { withoutSandbox, part } = order.in
  const platform = importSimPlatform(order.in.platform)
  const simulated = { ...common, platform, withoutSandbox, stdin: process.stdin }
  switch (part.role) {
    case 'alone':
      return { kind: 'ended', end: await runJobFile(simulated) }
    case 'driver':
      return { kind: 'ended', end: await runDriver(simulated, part.executors) }
    case 'executor':
      return await serve(simulated, part.id)
  }
}

/** Runs a job as its driver's launcher; those of executors reach it by a socket. */
async function runDriver(
  options: RunJobOptions & { readonly onEvent: (event: LaunchEvent) => void },
  executors: number,
): Promise<Ended> {
  const relays: Promise<Relay>[] = []
  const closed = new AbortController()
  const onEvent = (event: LaunchEvent) => {
    if (event.kind !== 'listening') return options.onEvent(event)
    const relay = openRelay(DOOR_PATH, `https://${event.address}`, DOOR_MODE, PEERS)
    // Nobody could come in.
    relay.catch((error: unknown) => closed.abort(error))
    relays.push(relay)
  }
  const listen = { host: '127.0.0.1', port: 0 }
  const signal = AbortSignal.any([closed.signal, ...(options.signal ? [options.signal] : [])])
  try {
    return await runJobFile({ ...options, executors, onEvent, signal, hosts: { listen } })
  } catch (error) {
    throw closed.signal.aborted ? closed.signal.reason : error
  } finally {
    for (const relay of await Promise.allSettled(relays)) {
      if (relay.status === 'fulfilled') relay.value.close()
    }
  }
}

/** Has an executor of a job whose driver is in another container. */
async function serve(options: Omit<ServeJobOptions, 'driver'>, id: string): Promise<FromContainer> {
  const { job, pin, signal, platform, onEvent, onVerified } = options
  const relay = await openRelayPort({ path: DOOR_PATH }, MAX_PEER_CONNECTIONS, PEERS)
  try {
    const { outcome, failure } = await serveJobFile({
      ...{ job, pin, platform, id, driver: { host: '127.0.0.1', port: relay.port } },
      ...(signal && { signal }),
      ...(onEvent && { onEvent }),
      ...(onVerified && { onVerified }),
    })
    if (outcome !== 'refused' || failure === undefined) return { kind: 'served' }
    const { where, code, message, reasons } = failure
    return { kind: 'threw', error: { name: where, code, message, reasons } }
  } finally {
    relay.close()
  }
}

/** The line to whoever started the container. */
class Line {
  readonly #socket: Socket
  readonly #off = new AbortController()
  readonly #kept: ToContainer[] = []
  #waiting: ((message: ToContainer | undefined) => void) | undefined

  private constructor(socket: Socket) {
    this.#socket = socket
    const frames = new FrameReader()
    socket.on('data', (bytes: Buffer) => {
      for (const message of frames.push(bytes)) {
        this.#take(JSON.parse(Buffer.from(message).toString('utf8')))
      }
    })
    socket.on('error', () => {})
    socket.once('close', () => this.#lost())
  }

  static async open(path: string): Promise<Line> {
    return await new Promise((resolve, reject) => {
      const socket = connect(path, () => resolve(new Line(socket)))
      socket.once('error', cause => {
        const why = 'is the engine on another machine?'
        reject(new ContainerError('START', `nobody is at ${path}: ${why}`, { cause }))
      })
    })
  }

  /** Ends the instance when it aborts. */
  get calledOff(): AbortSignal {
    return this.#off.signal
  }

  async order(): Promise<Order> {
    const order = await this.told('order')
    if (order.version === VERSION) return order
    throw new ContainerError(
      'START',
      `wanted an order of version ${VERSION}, seen ${order.version}: the image has another version of Cloister`,
    )
  }

  /** The next message, which is to be of a kind. */
  async told<Kind extends 'order' | 'go'>(
    kind: Kind,
  ): Promise<Extract<ToContainer, { readonly kind: Kind }>> {
    const message = await this.#next()
    if (message?.kind === kind) return message as Extract<ToContainer, { readonly kind: Kind }>
    throw new ContainerError('START', `wanted ${kind}, seen ${message?.kind ?? 'nobody any more'}`)
  }

  tell(message: FromContainer): void {
    if (!this.#socket.destroyed) this.#socket.write(encodeMessage(message))
  }

  async close(): Promise<void> {
    this.#socket.removeAllListeners('close')
    if (this.#socket.destroyed) return
    await new Promise<void>(resolve => {
      this.#socket.once('close', () => resolve())
      this.#socket.end()
    })
  }

  #take(message: ToContainer): void {
    if (message.kind === 'abort') this.#off.abort()
    // A signal as any other: who listens to it is who runs the instance.
    else if (message.kind === 'signal') process.kill(process.pid, message.signal)
    else if (this.#waiting === undefined) this.#kept.push(message)
    else this.#waiting(message)
  }

  async #next(): Promise<ToContainer | undefined> {
    const kept = this.#kept.shift()
    if (kept !== undefined || this.#socket.destroyed) return kept
    return await new Promise(resolve => {
      this.#waiting = message => {
        this.#waiting = undefined
        resolve(message)
      }
    })
  }

  #lost(): void {
    this.#off.abort()
    this.#waiting?.(undefined)
    setTimeout(() => process.exit(1), ENDING_MS).unref()
  }
}
