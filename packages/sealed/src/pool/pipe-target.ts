import { constants, fstatSync, openSync } from 'node:fs'
import { Socket } from 'node:net'
import { PoolError } from './errors.ts'

/**
 * The writing end of a pipe. A blocked `write(2)` could be ended neither by a signal, nor by closing
 * the pool, nor by the process's exit; so this one never blocks, and waits as sockets do. It has a
 * file description of its own: the caller's descriptor keeps its flags.
 */
export class PipeTarget {
  readonly #socket: Socket
  #failure: Error | undefined

  private constructor(descriptor: number) {
    this.#socket = new Socket({ fd: descriptor, readable: false, writable: true })
    this.#socket.on('error', error => {
      this.#failure = error
    })
  }

  /** Opens the pipe behind `descriptor`; nothing if it has no reader. @throws PoolError `WRITE` */
  static open(descriptor: number): PipeTarget | undefined {
    try {
      if (!fstatSync(descriptor).isFIFO()) {
        throw new PoolError('WRITE', 'wanted a pipe to write into, seen another kind of file')
      }
      const flags = constants.O_WRONLY | constants.O_NONBLOCK
      return new PipeTarget(openSync(`/proc/self/fd/${descriptor}`, flags))
    } catch (cause) {
      if (cause instanceof PoolError) throw cause
      const code = codeOf(cause)
      if (code === 'ENXIO') return undefined
      throw new PoolError('WRITE', `wanted to write into a pipe, seen ${code}`, { cause })
    }
  }

  /**
   * Writes all of `bytes`; waits until the pipe has taken them.
   * @throws PoolError `WRITE`
   * @throws the signal's reason
   */
  async write(bytes: Uint8Array, signal?: AbortSignal): Promise<'written' | 'reader-closed'> {
    signal?.throwIfAborted()
    const stop = () => this.#socket.destroy()
    signal?.addEventListener('abort', stop, { once: true })
    try {
      await new Promise<void>((resolve, reject) => {
        this.#socket.write(bytes, error => (error ? reject(error) : resolve()))
      })
      return 'written'
    } catch (error) {
      signal?.throwIfAborted()
      const cause = this.#failure ?? error
      const code = codeOf(cause)
      if (code === 'EPIPE') return 'reader-closed'
      throw new PoolError('WRITE', `wanted to write into a pipe, seen ${code}`, { cause })
    } finally {
      signal?.removeEventListener('abort', stop)
    }
  }

  /** Closes this description, not the caller's. */
  async close(): Promise<void> {
    if (this.#socket.closed) return
    await new Promise<void>(resolve => {
      this.#socket.once('close', () => resolve())
      this.#socket.destroy()
    })
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
}
