import { Socket } from 'node:net'
import { encodeFrame } from '../instance/frame.ts'
import { STATUS_FD } from '../instance/layout.ts'
import { encodeStatus, type InstanceStatus } from '../instance/status.ts'

/** The way back to the launcher. Nothing is believed that comes along it: nothing ever does. */
export class StatusLine {
  readonly #socket: Socket

  /** @param onLost - Called when the launcher has gone. */
  constructor(onLost: () => void) {
    this.#socket = new Socket({ fd: STATUS_FD, readable: true, writable: true })
    this.#socket.on('error', () => {})
    this.#socket.once('close', onLost)
    this.#socket.resume()
  }

  /** Tells the launcher how the instance stands. */
  async tell(status: InstanceStatus): Promise<void> {
    await new Promise<void>(resolve => {
      // A launcher that has gone is seen as such by `onLost`.
      this.#socket.write(encodeFrame(encodeStatus(status)), () => resolve())
    })
  }
}
