import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { PassThrough } from 'node:stream'
import { text } from 'node:stream/consumers'
import { expect, it, onTestFinished, vi } from 'vitest'
import { joinPeers } from './join-peers.ts'

it('passes on at once what comes, to whatever kind of connection', async () => {
  const server = createServer().listen(0, '127.0.0.1')
  onTestFinished(() => void server.close())
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const peer = connect({ host: '127.0.0.1', port, allowHalfOpen: true })
  const [accepted] = (await once(server, 'connection')) as [Socket]
  const noDelay = vi.spyOn(peer, 'setNoDelay')
  const other = new PassThrough()
  joinPeers(peer, other)
  expect(noDelay).toHaveBeenCalledWith(true)
  accepted.end('one piece')
  expect(await text(other)).toBe('one piece')
  peer.destroy()
})
