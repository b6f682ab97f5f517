import { rm } from 'node:fs/promises'
import { Agent, request as httpsRequest } from 'node:https'
import { connect as connectPlain } from 'node:net'
import { connect, type TLSSocket } from 'node:tls'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { tlsNameOf } from '../../protocol/public-key.ts'
import { World } from '../flow.test.support.ts'

/** A key service that the test ends itself. */
async function started(options: Parameters<typeof World.start>[0] = {}): Promise<World> {
  const world = await World.start(options)
  onTestFinished(() => rm(world.folder, { recursive: true, force: true }))
  return world
}

/** A connection on which bytes are sent as they are. */
async function connected(world: World): Promise<{ socket: TLSSocket; seen: () => string }> {
  const { certificate, kmsId, url } = world.kms.pin
  const { port } = new URL(url)
  const servername = tlsNameOf(kmsId)
  const socket = connect({ host: '127.0.0.1', port: Number(port), ca: [certificate], servername })
  let text = ''
  socket.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk
  })
  socket.on('error', () => {})
  onTestFinished(() => void socket.destroy())
  await new Promise((resolve, reject) => {
    socket.once('secureConnect', resolve)
    socket.once('error', reject)
  })
  return { socket, seen: () => text }
}

const head = (length: number) =>
  `POST /v1/challenge HTTP/1.1\r\nhost: kms\r\ncontent-type: application/json\r\ncontent-length: ${length}\r\n\r\n`
const READY = 'GET /readyz HTTP/1.1\r\nhost: kms\r\n\r\n'
const isUnderWay = () => new Promise(resolve => setTimeout(resolve, 100))

describe('a key service that is told to stop', () => {
  it('answers what is under way and what still comes on open connections, then is gone', async () => {
    const log: string[] = []
    const world = await started({ logTo: line => log.push(line), metrics: { port: 0 } })
    const slow = await connected(world)
    const kept = await connected(world)
    const idle = await connected(world)
    slow.socket.write(head(2))
    await isUnderWay()
    const stopping = world.kms.close()
    kept.socket.write(READY)
    await vi.waitFor(() => expect(kept.seen()).toContain('"SHUTTING_DOWN"'))
    expect(kept.seen()).toMatch(/^HTTP\/1\.1 503 .*\r\nconnection: close\r\n/s)
    await expect(connected(world)).rejects.toMatchObject({ code: 'ECONNREFUSED' })
    slow.socket.write('{}')
    await vi.waitFor(() => expect(slow.seen()).toContain('"challenge"'))
    expect(slow.seen()).toMatch(/^HTTP\/1\.1 200 .*\r\nconnection: close\r\n/s)
    await stopping
    for (const { socket } of [slow, kept, idle]) {
      await vi.waitFor(() => expect(socket.closed).toBe(true))
    }
    expect(JSON.parse(log.at(-1) ?? '')).toMatchObject({ event: 'stopped', cutOff: 0 })
    await expect(fetch(world.kms.metricsUrl ?? '')).rejects.toThrow()
  })

  it('waits no longer than it was told, and says what it cut off', async () => {
    const world = await started({ shutdownGraceSeconds: 0.5 })
    const slow = await connected(world)
    slow.socket.write(head(2))
    await isUnderWay()
    const begun = performance.now()
    expect(await world.kms.close()).toEqual({ cutOff: 1 })
    expect(performance.now() - begun).toBeLessThan(3000)
    expect(slow.seen()).toBe('')
  })

  it('is not held up by connections on which nothing is asked, nor by half a handshake', async () => {
    const world = await started()
    await connected(world)
    const { socket } = await connected(world)
    socket.write('GET /v1/kms HTTP/1.1\r\nhost:')
    const { port } = new URL(world.kms.pin.url)
    const half = connectPlain(Number(port), '127.0.0.1').on('error', () => {})
    await isUnderWay()
    const begun = performance.now()
    expect(await world.kms.close()).toEqual({ cutOff: 0 })
    expect(performance.now() - begun).toBeLessThan(3000)
    half.destroy()
  })

  it('breaks no connection of clients that ask one thing after another', async () => {
    const world = await started()
    const { certificate, kmsId, url } = world.kms.pin
    const agent = new Agent({ keepAlive: true, maxSockets: 1, scheduling: 'lifo' })
    onTestFinished(() => agent.destroy())
    const ask = () =>
      new Promise<string>((resolve, reject) => {
        const servername = tlsNameOf(kmsId)
        const options = { agent, ca: certificate, servername }
        const sent = httpsRequest(new URL('/v1/kms', url), options, response => {
          response.resume().once('end', () => resolve(String(response.headers.connection)))
        })
        // A connection that was not accepted any more: nothing was sent.
        sent.once('error', error => {
          if ('code' in error && error.code === 'ECONNREFUSED') resolve('refused')
          else reject(error)
        })
        sent.end()
      })
    const seen: string[] = []
    const asking = (async () => {
      while (seen.at(-1) !== 'refused') seen.push(await ask())
    })()
    await isUnderWay()
    await world.kms.close()
    await asking
    expect(seen.length).toBeGreaterThan(3)
    expect(seen.slice(-3)).toEqual(['keep-alive', 'close', 'refused'])
  })
})
