import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { Control } from './control.ts'
import { type FromExecutor, parseFromExecutor } from './message.ts'

let open: { destroy(): void }[] = []

afterEach(() => {
  for (const one of open) one.destroy()
  open = []
})

/** A connection's two ends. */
async function ends(): Promise<readonly [Socket, Socket]> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const arrived = once(server, 'connection')
  const near = connect((server.address() as AddressInfo).port, '127.0.0.1')
  await once(near, 'connect')
  const [far] = (await arrived) as [Socket]
  server.close()
  open.push(near, far)
  return [near, far]
}

describe('messages to a host that reads none', () => {
  it('end it, but not while others are being told', async () => {
    const [near, far] = await ends()
    far.pause()
    const why: string[] = []
    let told = () => {}
    const ended = new Promise<void>(resolve => {
      told = resolve
    })
    const control = new Control<FromExecutor>(near, {
      ...{ parse: parseFromExecutor, onMessage: () => {}, silenceMs: 60_000 },
      onEnd: reason => {
        why.push(reason)
        told()
      },
    })
    const message = { kind: 'refused', code: 'FULL', message: 'x'.repeat(1000) } as const
    for (let sent = 0; sent < 20_000; sent += 1) control.send(message)
    expect(near.writableLength).toBeLessThan(2 << 20)
    expect(why).toEqual([])
    await ended
    expect(why).toEqual(['it does not listen'])
    expect(near.destroyed).toBe(true)
  })
})
