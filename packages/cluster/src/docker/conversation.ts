import type { Socket } from 'node:net'
import {
  type LaunchEvent,
  onSignals,
  openRelaySocket,
  type Relay,
} from '@cloister/enclave/launcher'
import type { ContainerPlan, Mount } from './container.ts'
import { hostWords } from './layout.ts'
import {
  ContainerReader,
  encodeMessage,
  type FromContainer,
  type Order,
  type Served,
  type ToContainer,
} from './messages.ts'
import { errorFrom } from './told-error.ts'

/** What happens on the way, in a container and around it. */
export type ContainerEvent =
  | LaunchEvent
  /** The engine is asked for a container. `image` is the id of its image. */
  | ({ readonly kind: 'container' } & Pick<ContainerPlan, 'name' | 'image' | 'network' | 'inside'>)

/** What a conversation with the launcher in a container is about. */
export interface Talk {
  readonly order: Order
  readonly mounts: readonly Mount[]
  readonly onEvent: (event: LaunchEvent) => void
  readonly onVerified?: () => Promise<void>
  readonly signal?: AbortSignal
  readonly passOnSignals?: boolean
}

const SOCKET_MODE = 0o600

/**
 * Talks with the launcher in a container: gives it its order, and takes what comes of it. The
 * container's end of the line is how that one learns that this process is gone.
 */
export class Conversation {
  readonly #talk: Talk
  readonly #reader = new ContainerReader()
  #relay: Relay | undefined
  #socket: Socket | undefined
  #result: (() => Served) | undefined
  #failure: { readonly error: unknown } | undefined
  #stopSignals = () => {}
  readonly #abort = () => this.#tell({ kind: 'abort' })

  private constructor(talk: Talk) {
    this.#talk = talk
    talk.signal?.addEventListener('abort', this.#abort, { once: true })
  }

  /** @param path - Where the socket is made that leads into the container. */
  static async open(path: string, talk: Talk): Promise<Conversation> {
    const conversation = new Conversation(talk)
    try {
      conversation.#relay = await openRelaySocket(path, { mode: SOCKET_MODE }, socket =>
        conversation.#begin(socket),
      )
    } catch (error) {
      conversation.close()
      throw error
    }
    return conversation
  }

  /** Whether a launcher has ever answered. */
  get isBegun(): boolean {
    return this.#socket !== undefined
  }

  /** Whether the launcher said what came of it. */
  get hasResult(): boolean {
    return this.#result !== undefined
  }

  /**
   * What came of it; undefined where nothing was said.
   * @throws what the container threw, with the host's paths; what `onVerified` threw
   */
  result(): Served | undefined {
    if (this.#failure !== undefined) throw this.#failure.error
    return this.#result?.()
  }

  /** Ends it; who is in the container then ends too. */
  close(): void {
    this.#stopSignals()
    this.#talk.signal?.removeEventListener('abort', this.#abort)
    this.#relay?.close()
  }

  #begin(socket: Socket): void {
    socket.on('error', () => {})
    if (this.#socket !== undefined || this.#talk.signal?.aborted) {
      socket.destroy()
      return
    }
    this.#socket = socket
    socket.on('data', (bytes: Buffer) => {
      try {
        for (const message of this.#reader.push(bytes)) this.#take(message)
      } catch (error) {
        this.#fail(error)
        socket.destroy()
      }
    })
    this.#tell(this.#talk.order)
  }

  #take(message: FromContainer): void {
    switch (message.kind) {
      case 'event':
        this.#follow(message.event)
        return
      case 'verified':
        void this.#goOn()
        return
      case 'ended':
        this.#over(() => message.end)
        return
      case 'served':
        this.#over(() => 'served')
        return
      case 'threw':
        this.#over(() => {
          throw errorFrom(message.error, this.#inHostWords)
        })
    }
  }

  #follow(event: LaunchEvent): void {
    const { onEvent, passOnSignals } = this.#talk
    onEvent('message' in event ? { ...event, message: this.#inHostWords(event.message) } : event)
    if (event.kind !== 'started' || passOnSignals !== true) return
    this.#stopSignals()
    this.#stopSignals = onSignals(signal => this.#tell({ kind: 'signal', signal }))
  }

  async #goOn(): Promise<void> {
    try {
      await this.#talk.onVerified?.()
      this.#tell({ kind: 'go' })
    } catch (error) {
      this.#fail(error)
      this.#tell({ kind: 'abort' })
      this.#socket?.destroy()
    }
  }

  #over(result: () => Served): void {
    this.#result = result
    this.#stopSignals()
  }

  #fail(error: unknown): void {
    this.#failure ??= { error }
  }

  #tell(message: ToContainer): void {
    if (this.#socket?.writable) this.#socket.write(encodeMessage(message))
  }

  readonly #inHostWords = (text: string): string => hostWords(text, this.#talk.mounts)
}
