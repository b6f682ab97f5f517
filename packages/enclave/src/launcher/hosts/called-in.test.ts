import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { afterEach, describe, expect, it, vi } from 'vitest'
import type { LaunchEvent } from '../event.ts'
import { Switchboard } from '../switchboard.ts'
import { parseHostAddress } from './address.ts'
import { CalledIn } from './called-in.ts'
import { Asked, Fetches } from './fetches.ts'
import { encodeGreeting } from './greeting.ts'

const JOB = '5a'.repeat(32)

let team: CalledIn

afterEach(async () => {
  vi.useRealTimers()
  await team?.end('failed')
})

/** A driver's host that listens, and its port. */
async function driver(onNobody = () => {}): Promise<number> {
  const events: LaunchEvent[] = []
  team = new CalledIn({
    ...{ executors: 1, jobDigest: JOB, onNobody, onEvent: event => events.push(event) },
    hosts: { listen: { host: '127.0.0.1', port: 0 }, waitMs: 1000 },
  })
  await team.open(new Switchboard())
  const [listening] = events.flatMap(event => (event.kind === 'listening' ? [event.address] : []))
  return parseHostAddress(listening ?? '')?.port ?? 0
}

describe('the host of a driver', () => {
  it('tells no stranger which job it runs', async () => {
    const socket = connect(await driver(), '127.0.0.1')
    const job = '00'.repeat(32)
    socket.write(encodeGreeting({ kind: 'join', offer: { job, id: '1f'.repeat(16) } }))
    let said = ''
    socket.on('data', bytes => {
      said += bytes
    })
    await once(socket, 'close')
    expect(JSON.parse(said)).toMatchObject({ kind: 'refused', code: 'JOB' })
    expect(said).toContain(job)
    expect(said).not.toContain(JOB)
  })

  it('has a host take a place anew whose executor was sent away, if the driver goes on', async () => {
    const socket = connect(await driver(), '127.0.0.1')
    let said = ''
    socket.on('data', bytes => {
      said += bytes
    })
    const places = () => [...said.matchAll(/"number":(\d+)/g)].map(([, number]) => Number(number))
    socket.write(encodeGreeting({ kind: 'join', offer: { job: JOB, id: '1f'.repeat(16) } }))
    await vi.waitUntil(() => said.includes('listed'), 10_000)
    team.begin('0'.repeat(32))
    await vi.waitUntil(() => places().length === 1, 10_000)
    socket.write('{"kind":"ended","how":"served","why":""}\n')
    await vi.waitUntil(() => places().length === 2, 20_000)
    expect(places()).toEqual([1, 2])
    socket.destroy()
  })

  it('ends no driver for want of executors whose program has ended', async () => {
    const nobody = vi.fn()
    await driver(nobody)
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    team.begin('0'.repeat(32))
    team.isOver = true
    vi.advanceTimersByTime(2000)
    expect(nobody).not.toHaveBeenCalled()
  })

  it('does so where it has not', async () => {
    const nobody = vi.fn()
    await driver(nobody)
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    team.begin('0'.repeat(32))
    vi.advanceTimersByTime(2000)
    expect(nobody).toHaveBeenCalledOnce()
  })
})

describe('connections that hosts ask each other for', () => {
  it('are made so many at a time, however many are asked for', async () => {
    const asked = new Asked()
    const calls: ((socket: undefined) => void)[] = []
    const call = () => new Promise<never>((_resolve, reject) => calls.push(reject))
    const made = Array.from({ length: 5000 }, () => asked.make(call))
    expect(calls).toHaveLength(1024)
    for (const fail of calls) fail(undefined)
    expect(await Promise.all(made)).toEqual(made.map(() => undefined))
    void asked.make(call)
    expect(calls).toHaveLength(1025)
  })

  it('are taken once, and leave no timer', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const fetches = new Fetches()
    const ended: string[] = []
    const socket = (name: string) => ({ destroy: () => ended.push(name) }) as unknown as Socket
    const first = socket('first')
    const next = fetches.next(token => {
      fetches.take(token, first)
      fetches.take(token, socket('second'))
    })
    expect(await next).toBe(first)
    expect(ended).toEqual(['second'])
    expect(vi.getTimerCount()).toBe(0)
  })
})
