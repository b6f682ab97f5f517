import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { importSimPlatform } from '@cloister/attestation'
import { FrameReader, openRelayPort, requireGraminePal } from '@cloister/enclave/launcher'
import { runJobFile, runJobOnSgx } from '@cloister/engine/job'
import { ContainerError } from './errors.ts'
import { CLIENT_SOCKET, KMS_SOCKET } from './layout.ts'
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
    line.tell({ kind: 'ended', end: await done({ ...order, pin }, line) })
  } catch (error) {
    line.tell({ kind: 'threw', error: tellError(error) })
  } finally {
    relay.close()
    await line.close()
    // Whoever writes to it may go on for ever.
    process.stdin.destroy()
  }
}

async function done(order: Order, line: Line): Promise<Ended> {
  const { job, pin, instanceName } = order
  const common = {
    ...{ job, pin, instanceName, passOnSignals: true, signal: line.calledOff },
    onEvent: (event: Extract<FromContainer, { kind: 'event' }>['event']) =>
      line.tell({ kind: 'event', event }),
    onVerified: async () => {
      line.tell({ kind: 'verified' })
      await line.told('go')
    },
    // Standard output is the program's; that of a runner of queries is no result.
    ...(job.queries === undefined ? {} : { stdout: process.stderr }),
  }
  if (order.in.tee === 'sgx') {
    const libpal = requireGraminePal(order.in.libpal ?? undefined)
    return await runJobOnSgx({ ...common, libpal })
  }
  const { platform, withoutSandbox } = order.in
  return await runJobFile({
    ...{ ...common, withoutSandbox, stdin: process.stdin },
    platform: importSimPlatform(platform),
  })
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
