/** Most bytes in one message between launcher and instance. */
const MAX_FRAME_BYTES = 16 * 1024 * 1024

const PREFIX = 4

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
  #rest: Buffer = Buffer.alloc(0)

  /** @param max - Most bytes that one message may have. */
  constructor(max: number = MAX_FRAME_BYTES) {
    this.#max = max
  }

  /**
   * Takes the next bytes and returns the messages that they complete.
   * @throws FrameError LENGTH, before anything is set aside for the message
   */
  push(bytes: Uint8Array): readonly Uint8Array[] {
    this.#rest = Buffer.concat([this.#rest, bytes])
    const messages: Uint8Array[] = []
    while (this.#rest.length >= PREFIX) {
      const length = this.#rest.readUInt32BE(0)
      assertLength(length, this.#max)
      if (this.#rest.length < PREFIX + length) break
      messages.push(Uint8Array.from(this.#rest.subarray(PREFIX, PREFIX + length)))
      this.#rest = this.#rest.subarray(PREFIX + length)
    }
    return messages
  }

  /**
   * Ends the channel.
   * @throws FrameError CUT when it ends inside a message
   */
  finish(): void {
    if (this.#rest.length > 0) {
      throw new FrameError('CUT', `the channel ended ${this.#rest.length} bytes into a message`)
    }
  }
}

function assertLength(length: number, max: number): void {
  if (length > max) throw new FrameError('LENGTH', `a message has ${length} bytes, at most ${max}`)
}
