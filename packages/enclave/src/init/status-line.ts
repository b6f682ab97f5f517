import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect, Socket } from 'node:net'
import { InstanceError } from '../instance/failure.ts'
import { encodeFrame } from '../instance/frame.ts'
import { parseLauncherAddress } from '../instance/launcher-address.ts'
import { type InstanceLayout, STATUS_FD } from '../instance/layout.ts'
import { encodeStatus, type InstanceStatus } from '../instance/status.ts'

/** The way back that a launcher of simulated enclaves leaves its instance. */
export function inheritedSocket(): Socket {
  return new Socket({ fd: STATUS_FD, readable: true, writable: true })
}

/**
 * The way back where no descriptor comes in: the launcher listens, and knows its instance by a secret.
 * @throws InstanceError JOB
 */
export async function connectedSocket(layout: InstanceLayout): Promise<Socket> {
  try {
    const address = parseLauncherAddress(readFileSync(layout.launcherFile, 'latin1'))
    if (address === undefined) throw new InstanceError('JOB', 'no launcher has an address')
    const socket = connect(address.port, '127.0.0.1')
    await once(socket, 'connect')
    socket.write(`${address.secret}\n`)
    return socket
  } catch (cause) {
    if (cause instanceof InstanceError) throw cause
    throw new InstanceError('JOB', 'no launcher answers', { cause })
  }
}

/** The way back to the launcher. Nothing is believed that comes along it: nothing ever does. */
export class StatusLine {
  readonly #socket: Socket

  /**
   * @param socket - Leads to the launcher.
   * @param onLost - Called when the launcher has gone.
   */
  constructor(socket: Socket, onLost: () => void) {
    this.#socket = socket
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
