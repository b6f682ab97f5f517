import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { type AddressInfo, connect, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openRelay, openRelayPort } from './relay.ts'
import type { Relay } from './relay-socket.ts'

let folder: string
let server: Server
let relays: Relay[]

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cloister-relay-'))
  relays = []
  // Answers when it has been told all, which a caller shows by ending what it says.
  server = createServer({ allowHalfOpen: true }, socket => {
    let said = ''
    socket.setEncoding('utf8').on('data', text => {
      said += text
    })
    socket.on('end', () => socket.end(said.toUpperCase().repeat(100_000)))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
})
afterEach(async () => {
  for (const relay of relays) relay.close()
  server.close()
  await rm(folder, { recursive: true, force: true })
})

describe('a relay between the containers of one job', () => {
  it('lets a program be answered that has said all it says', async () => {
    const path = join(folder, 'door.sock')
    const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`
    relays.push(await openRelay(path, url, 0o600, { allowHalfOpen: true }))
    const port = await openRelayPort({ path }, 4, { allowHalfOpen: true })
    relays.push(port)
    const caller = connect({ host: '127.0.0.1', port: port.port, allowHalfOpen: true })
    caller.end('hello')
    const answer = (await caller.setEncoding('utf8').toArray()).join('')
    expect(answer === 'HELLO'.repeat(100_000)).toBe(true)
  })
})
