import { Socket } from 'node:net'
import { InstanceError } from '../instance/failure.ts'
import { encodeFrame, FrameReader } from '../instance/frame.ts'
import { QUOTE_FD } from '../instance/layout.ts'
import type { Quotes } from './surroundings.ts'

const MAX_QUOTE_BYTES = 64 * 1024
const QUOTE_MS = 30_000

/** The platform's quoting, on a descriptor that this instance alone inherited. */
export class QuoteDescriptor implements Quotes {
  readonly #socket: Socket
  readonly #reader = new FrameReader(MAX_QUOTE_BYTES)
  #waiting:
    | { readonly resolve: (quote: Uint8Array) => void; readonly reject: (error: Error) => void }
    | undefined

  constructor() {
    this.#socket = new Socket({ fd: QUOTE_FD, readable: true, writable: true })
    this.#socket.on('data', bytes => this.#take(bytes))
    this.#socket.on('error', cause => this.#fail('the platform cannot be asked', cause))
    this.#socket.on('close', () => this.#fail('the platform does not answer'))
  }

  /**
   * Has the platform quote this instance.
   * @param reportData - 64 bytes.
   * @throws InstanceError QUOTE
   */
  async quote(reportData: Uint8Array): Promise<Uint8Array> {
    if (this.#waiting !== undefined || this.#socket.destroyed) {
      throw new InstanceError('QUOTE', 'the quote descriptor is closed or busy')
    }
    const timer = setTimeout(() => this.#fail('the platform does not answer in time'), QUOTE_MS)
    try {
      return await new Promise<Uint8Array>((resolve, reject) => {
        this.#waiting = { resolve, reject }
        this.#socket.write(encodeFrame(reportData))
      })
    } finally {
      clearTimeout(timer)
      this.#waiting = undefined
    }
  }

  /** Gives the descriptor up: from here on nothing in this instance can have itself quoted. */
  async close(): Promise<void> {
    if (this.#socket.destroyed) return
    await new Promise<void>(resolve => {
      this.#socket.once('close', () => resolve())
      this.#socket.destroy()
    })
  }

  #take(bytes: Uint8Array): void {
    try {
      const [quote] = this.#reader.push(bytes)
      if (quote !== undefined) this.#waiting?.resolve(quote)
    } catch (cause) {
      this.#fail('the platform answers with no quote', cause)
      this.#socket.destroy()
    }
  }

  #fail(message: string, cause?: unknown): void {
    this.#waiting?.reject(new InstanceError('QUOTE', message, { cause }))
  }
}
