import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import type { KmsPin } from '@cloister/kms'

/** A host between instance and key service. */
export class KmsProxy {
  /** The pin, leading through here. */
  readonly pin: KmsPin
  /** What becomes of bytes on their way to the instance; `null` cuts the connection instead. */
  answer: (bytes: Buffer) => Buffer | null = bytes => bytes
  /** Bytes that passed on their way to the key service. */
  sent = Buffer.alloc(0)
  readonly #server: Server
  readonly #sockets = new Set<Socket>()

  private constructor(server: Server, pin: KmsPin) {
    this.#server = server
    const { port } = server.address() as AddressInfo
    this.pin = { ...pin, url: `https://127.0.0.1:${port}` }
  }

  static async before(pin: KmsPin): Promise<KmsProxy> {
    const { port } = new URL(pin.url)
    const server = createServer()
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const proxy = new KmsProxy(server, pin)
    server.on('connection', inner => proxy.#pass(inner, connect(Number(port), '127.0.0.1')))
    return proxy
  }

  close(): void {
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
  }

  #pass(inner: Socket, outer: Socket): void {
    for (const [socket, other] of [
      [inner, outer],
      [outer, inner],
    ] as const) {
      this.#sockets.add(socket)
      socket.on('error', () => other.destroy())
      socket.on('close', () => other.destroy())
    }
    inner.on('data', (bytes: Buffer) => {
      this.sent = Buffer.concat([this.sent, bytes])
      outer.write(bytes)
    })
    outer.on('data', (bytes: Buffer) => {
      const answer = this.answer(bytes)
      if (answer === null) inner.destroy()
      else inner.write(answer)
    })
  }
}
