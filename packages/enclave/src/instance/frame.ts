/** Most bytes in one message between launcher and instance. */
const MAX_FRAME_BYTES = 16 * 1024 * 1024

const PREFIX = 4

/** Most bytes that are kept for what comes next, once a message is whole. */
const KEPT_BYTES = 64 * 1024

/** Bytes on a channel between launcher and instance that are no messages. */
class FrameError extends Error {
  /** `LENGTH`: longer than may be; `CUT`: the channel ended inside a message. */
  readonly code: 'LENGTH' | 'CUT'

  constructor(code: 'LENGTH' | 'CUT', message: string) {
    super(message)
    this.name = 'FrameError'
    this.code = code
  }
}

/**
 * Puts a message behind its length, an unsigned 32-bit big-endian integer.
 * @throws FrameError LENGTH
 */
export function encodeFrame(message: Uint8Array): Uint8Array {
  assertLength(message.length, MAX_FRAME_BYTES)
  const frame = Buffer.alloc(PREFIX + message.length)
  frame.writeUInt32BE(message.length)
  frame.set(message, PREFIX)
  return frame
}

/** Takes a channel apart into messages, however its bytes arrive. */
export class FrameReader {
  readonly #max: number
  #buffer: Buffer = Buffer.alloc(0)
  #filledBytes = 0

  /** @param max - Most bytes that one message may have. */
  constructor(max: number = MAX_FRAME_BYTES) {
    this.#max = max
  }

  /**
   * Takes the next bytes and returns the messages that they complete.
   * @throws FrameError LENGTH, before anything is set aside for the message
   */
  push(bytes: Uint8Array): readonly Uint8Array[] {
    this.#append(bytes)
    const messages: Uint8Array[] = []
    let at = 0
    while (this.#filledBytes - at >= PREFIX) {
      const length = this.#buffer.readUInt32BE(at)
      assertLength(length, this.#max)
      const end = at + PREFIX + length
      if (end > this.#filledBytes) break
      messages.push(Uint8Array.from(this.#buffer.subarray(at + PREFIX, end)))
      at = end
    }
    this.#drop(at)
    return messages
  }

  /** Memory that is taken by messages that are not whole yet. */
  get heldBytes(): number {
    return this.#buffer.length
  }

  /**
   * Ends the channel.
   * @throws FrameError CUT when it ends inside a message
   */
  finish(): void {
    if (this.#filledBytes > 0) {
      throw new FrameError('CUT', `the channel ended ${this.#filledBytes} bytes into a message`)
    }
  }

  /** However small the pieces are, a message is copied a few times and not with each of them. */
  #append(bytes: Uint8Array): void {
    const wanted = this.#filledBytes + bytes.length
    if (wanted > this.#buffer.length) {
      const larger = Buffer.alloc(Math.max(wanted, 2 * this.#buffer.length))
      this.#buffer.copy(larger, 0, 0, this.#filledBytes)
      this.#buffer = larger
    }
    this.#buffer.set(bytes, this.#filledBytes)
    this.#filledBytes = wanted
  }

  #drop(bytes: number): void {
    if (bytes === 0) return
    this.#buffer.copyWithin(0, bytes, this.#filledBytes)
    this.#filledBytes -= bytes
    if (this.#filledBytes <= KEPT_BYTES && this.#buffer.length > KEPT_BYTES) {
      this.#buffer = Buffer.from(this.#buffer.subarray(0, this.#filledBytes))
    }
  }
}

function assertLength(length: number, max: number): void {
  if (length > max) throw new FrameError('LENGTH', `a message has ${length} bytes, at most ${max}`)
}
