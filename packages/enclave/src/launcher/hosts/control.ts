import type { Socket } from 'node:net'
import { encodeMessage, type FromDriver, type FromExecutor, MAX_MESSAGE } from './message.ts'

/** How long the other end may be silent unless told. */
export const SILENCE_MS = 20_000

const NEW_LINE = 0x0a

/** What is not read at the other end for so long is no use to it. */
const MAX_UNSENT = 1 << 20

/** How long the last word may take to be read. */
const LAST_WORD_MS = 2_000

/** What is done with messages. */
export interface ControlOptions<In> {
  readonly parse: (line: string) => In | undefined
  readonly onMessage: (message: In) => void
  /** Called once, when nothing more comes. */
  readonly onEnd: (why: string) => void
  /** After how long without a word the other end is taken for lost. */
  readonly silenceMs: number
}

/**
 * Messages between the launchers of two hosts, a line of JSON each. Both ends say something now and
 * then, so that a host that vanishes without a word is missed. What is no message ends it.
 */
export class Control<In extends { readonly kind: string }> {
  readonly #socket: Socket
  readonly #options: ControlOptions<In>
  readonly #beat: NodeJS.Timeout
  readonly #silence: NodeJS.Timeout
  #begun = Buffer.alloc(0)
  #hasEnded = false

  constructor(socket: Socket, options: ControlOptions<In>) {
    this.#socket = socket
    this.#options = options
    const { silenceMs } = options
    this.#beat = setInterval(() => this.send({ kind: 'beat' }), silenceMs / 4)
    this.#silence = setTimeout(() => this.#end(`nothing was heard for ${silenceMs} ms`), silenceMs)
    socket.on('error', error => this.#end(error.message))
    socket.on('end', () => this.#end('it ended the connection'))
    socket.on('close', () => this.#end('the connection ended'))
    socket.on('data', (bytes: Buffer) => this.#take(bytes))
    // Whoever read the first line has paused it.
    socket.resume()
  }

  /** Says something, if somebody is there. */
  send(message: FromExecutor | FromDriver): void {
    if (this.#hasEnded) return
    // Not at once: whoever sends is in the midst of telling several, and is told of the end in turn.
    if (this.#socket.writableLength > MAX_UNSENT) {
      process.nextTick(() => this.#end('it does not listen'))
    } else this.#socket.write(encodeMessage(message))
  }

  /** Says the last word, and waits a little for the other end to have read it. */
  async end(message?: FromExecutor | FromDriver): Promise<void> {
    if (this.#hasEnded) return
    this.#stop()
    const socket = this.#socket
    const closed = new Promise<void>(resolve => socket.once('close', () => resolve()))
    const timer = setTimeout(() => socket.destroy(), LAST_WORD_MS)
    socket.end(message === undefined ? '' : encodeMessage(message))
    await closed
    clearTimeout(timer)
  }

  #take(bytes: Buffer): void {
    if (this.#hasEnded) return
    this.#silence.refresh()
    this.#begun = Buffer.concat([this.#begun, bytes])
    for (;;) {
      const end = this.#begun.indexOf(NEW_LINE)
      if (end >= MAX_MESSAGE || (end === -1 && this.#begun.length >= MAX_MESSAGE)) {
        this.#end('it says too much')
        return
      }
      if (end === -1) return
      const message = this.#options.parse(this.#begun.toString('utf8', 0, end))
      this.#begun = this.#begun.subarray(end + 1)
      if (message === undefined) this.#end('it says what is no message')
      else if (message.kind !== 'beat') this.#options.onMessage(message)
      if (this.#hasEnded) return
    }
  }

  #end(why: string): void {
    if (this.#hasEnded) return
    this.#stop()
    this.#socket.destroy()
    this.#options.onEnd(why)
  }

  #stop(): void {
    this.#hasEnded = true
    clearInterval(this.#beat)
    clearTimeout(this.#silence)
  }
}
