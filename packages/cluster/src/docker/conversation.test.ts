import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { encodeFrame, FrameReader, type LaunchEvent } from '@cloister/enclave/launcher'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Conversation, type Talk } from './conversation.ts'
import { ContainerError } from './errors.ts'
import { ContainerReader, encodeMessage, type Order, VERSION } from './messages.ts'
import { tellError } from './told-error.ts'

const ORDER = { kind: 'order', version: VERSION } as Order
const MOUNTS = [{ source: '/home/ada/people', target: '/cloister/in/people', isWritable: false }]

let folder: string
let conversation: Conversation
let events: LaunchEvent[]

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cloister-talk-'))
  events = []
})
afterEach(async () => {
  conversation.close()
  await rm(folder, { recursive: true, force: true })
})

const path = () => join(folder, 'client.sock')

async function talk(changes: Partial<Talk> = {}): Promise<void> {
  const onEvent = (event: LaunchEvent) => events.push(event)
  conversation = await Conversation.open(path(), {
    ...{ order: ORDER, mounts: MOUNTS, onEvent, ...changes },
  })
}

/** The container's end, and what comes to it. */
async function launcher(): Promise<{ readonly socket: Socket; next(): Promise<unknown> }> {
  const socket = connect(path())
  const [kept, frames] = [[] as unknown[], new FrameReader()]
  socket.on('data', (bytes: Buffer) => {
    for (const frame of frames.push(bytes)) kept.push(JSON.parse(Buffer.from(frame).toString()))
    socket.emit('told')
  })
  socket.on('error', () => {})
  await once(socket, 'connect')
  const next = async () => {
    while (kept.length === 0) await once(socket, 'told')
    return kept.shift()
  }
  return { socket, next }
}

describe('the line into a container', () => {
  it('bears the order, and has nobody go on before the image was seen to', async () => {
    const asked: string[] = []
    await talk({
      onVerified: async () => {
        asked.push('verified')
      },
    })
    expect(conversation.isBegun).toBe(false)
    const { socket, next } = await launcher()
    expect(await next()).toEqual(ORDER)
    expect(asked).toEqual([])
    socket.write(encodeMessage({ kind: 'verified' }))
    expect(await next()).toEqual({ kind: 'go' })
    expect(asked).toEqual(['verified'])
    const end = { outcome: 'completed', exitCode: 0, receipt: 'r' } as const
    socket.end(encodeMessage({ kind: 'ended', end }))
    await once(socket, 'close')
    expect(conversation.result()).toEqual(end)
  })

  it('tells an error as it was thrown, with the host’s paths', async () => {
    await talk()
    const { socket } = await launcher()
    const cause = Object.assign(new Error('ENOENT'), { code: 'ENOENT' })
    const error = Object.assign(
      new Error('/cloister/in/people/x: /cloister/in/people_2', { cause }),
      {
        ...{ name: 'ImageError', code: 'READ', reasons: [{ code: 'A', message: 'b' }] },
      },
    )
    socket.end(encodeMessage({ kind: 'threw', error: tellError(error) }))
    await once(socket, 'close')
    const told = (() => {
      try {
        return conversation.result()
      } catch (error) {
        return error
      }
    })()
    expect(told).toMatchObject({
      ...{ name: 'ImageError', code: 'READ', reasons: error.reasons },
      message: '/home/ada/people/x: /cloister/in/people_2',
      cause: { code: 'ENOENT' },
    })
  })

  it('is ended where the key service is not to be trusted, and says why', async () => {
    const refusal = new Error('the log was put back')
    await talk({ onVerified: () => Promise.reject(refusal) })
    const { socket } = await launcher()
    socket.write(encodeMessage({ kind: 'verified' }))
    await once(socket, 'close')
    expect(() => conversation.result()).toThrow(refusal)
  })

  it('takes one launcher, and none once it is called off', async () => {
    const off = new AbortController()
    await talk({ signal: off.signal })
    const first = await launcher()
    expect(await first.next()).toEqual(ORDER)
    const second = await launcher()
    await once(second.socket, 'close')
    off.abort()
    expect(await first.next()).toEqual({ kind: 'abort' })
    conversation.close()
    await talk({ signal: off.signal })
    const late = await launcher()
    await once(late.socket, 'close')
    expect(conversation.isBegun).toBe(false)
  })

  it('passes on what this process is sent, once the program is there', async () => {
    await talk({ passOnSignals: true })
    const { socket, next } = await launcher()
    await next()
    socket.write(encodeMessage({ kind: 'event', event: { kind: 'started', pid: 7 } }))
    await expect.poll(() => events).toEqual([{ kind: 'started', pid: 7 }])
    process.kill(process.pid, 'SIGUSR2')
    expect(await next()).toEqual({ kind: 'signal', signal: 'SIGUSR2' })
  })

  it('ends at what is no message', async () => {
    await talk()
    const { socket } = await launcher()
    socket.write(encodeFrame(Buffer.from('{"kind":"other"}')))
    await once(socket, 'close')
    expect(() => conversation.result()).toThrow(ContainerError)
  })
})

describe('what comes out of a container', () => {
  it('is a message or refused, whatever it is', () => {
    const values = fc.oneof(fc.json(), fc.string(), fc.constant('{"kind":"event","event":{}}'))
    fc.assert(
      fc.property(values, text => {
        try {
          new ContainerReader().push(encodeFrame(Buffer.from(text)))
          return false
        } catch (error) {
          return error instanceof ContainerError && error.code === 'START'
        }
      }),
    )
  })
})
