import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { encodeDestination, MAX_DESTINATION } from '../instance/destination.ts'
import { MAX_CONNECTIONS, openNetworkRelay } from './network-relay.ts'
import type { Relay } from './relay-socket.ts'

let folder: string
let path: string
let echo: Server
let unnamed: Server
let relay: Relay
/** Connections that either server ever saw. */
let seen: number

const portOf = (server: Server) => (server.address() as AddressInfo).port

async function listen(onSocket: (socket: Socket) => void): Promise<Server> {
  const server = createServer({ allowHalfOpen: true }, socket => {
    seen += 1
    socket.on('error', () => {})
    onSocket(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return server
}

beforeEach(async () => {
  seen = 0
  folder = mkdtempSync(join(tmpdir(), 'cloister-relay-'))
  path = join(folder, 'network.sock')
  echo = await listen(socket => socket.pipe(socket))
  unnamed = await listen(socket => socket.end('unnamed'))
  relay = await openNetworkRelay(path, [{ host: 'localhost', port: portOf(echo) }], 0o600)
})

afterEach(() => {
  relay.close()
  for (const server of [echo, unnamed]) server.close()
  rmSync(folder, { recursive: true, force: true })
})

/** What comes back for some bytes until the connection is over, by whoever answers. */
async function answerTo(...pieces: readonly (string | Uint8Array)[]): Promise<Buffer> {
  const socket = connect({ path, allowHalfOpen: true })
  const chunks: Buffer[] = []
  socket.on('data', chunk => chunks.push(chunk))
  // One that is cut off is told so.
  socket.on('error', () => {})
  const over = new Promise(resolve => socket.once('close', resolve))
  for (const piece of pieces) {
    socket.write(piece)
    await sleep(20)
  }
  socket.end()
  await over
  return Buffer.concat(chunks)
}

const named = () => Buffer.from(encodeDestination({ host: 'localhost', port: portOf(echo) }))

describe('the relay of an instance', () => {
  it('passes bytes to a named host and back, each way to its end', async () => {
    expect((await answerTo(Buffer.concat([named(), Buffer.from('hello')]))).toString()).toBe(
      'hello',
    )
    const large = Buffer.alloc(3 << 20, 'x')
    expect((await answerTo(named(), large)).equals(large)).toBe(true)
  })

  it('takes the first line in pieces of any size', async () => {
    const line = named().toString('latin1')
    const [one, two] = [line.slice(0, 5), line.slice(5)]
    expect((await answerTo(one, `${two}he`, 'llo')).toString()).toBe('hello')
  })

  it('connects to nothing else, however it is asked', async () => {
    const [port, other] = [portOf(echo), portOf(unnamed)]
    const asked = [
      `localhost:${other}\n`,
      `127.0.0.1:${port}\n`,
      `127.0.0.1:${other}\n`,
      `LOCALHOST:${port}\n`,
      `localhost:${port}\r\n`,
      ` localhost:${port}\n`,
      `localhost:0${port}\n`,
      `localhost:${port}\0\n`,
      `localhost:${port}:${other}\n`,
      `localhost\n`,
      '\n',
      `localhost:${port}`,
      'x'.repeat(MAX_DESTINATION + 1),
      `${'x'.repeat(1 << 16)}\nlocalhost:${port}\n`,
    ]
    for (const line of asked) expect(await answerTo(line), JSON.stringify(line)).toHaveLength(0)
    expect(seen).toBe(0)
  })

  it('keeps a bounded number of connections, and ends them with the instance', async () => {
    let ended = 0
    for (let number = 0; number < MAX_CONNECTIONS + 20; number += 1) {
      const socket = connect({ path }).resume()
      socket.once('close', () => {
        ended += 1
      })
      await once(socket, 'connect')
    }
    await expect.poll(() => ended, { timeout: 10_000 }).toBe(20)
    relay.close()
    await expect.poll(() => ended, { timeout: 10_000 }).toBe(MAX_CONNECTIONS + 20)
  })
})
