import { Writable } from 'node:stream'

const MAX_BYTES = 64 * 1024

/** Takes what a program says, for a result that is one object: its last 64 KiB. */
export class Collected extends Writable {
  #text = Buffer.alloc(0)

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.#text = Buffer.concat([this.#text, chunk]).subarray(-MAX_BYTES)
    done()
  }

  /** What it said, as UTF-8. */
  text(): string {
    return this.#text.toString('utf8')
  }
}
