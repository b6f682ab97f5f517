import type { AddressInfo } from 'node:net'
import type { Server, TLSSocket } from 'node:tls'
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { PeerRequirements } from '../appraise-peer.ts'
import {
  issueAttestedCredentials,
  issueTlsCredentials,
  type TlsCredentials,
} from '../certificate/credentials.ts'
import { AT, simWorld } from '../world.test.support.ts'
import { connectAttested } from './connect.ts'
import { createAttestedServer } from './server.ts'

const { requirements, source } = simWorld()
const DAY = 24 * 60 * 60 * 1000
/** What the simulated collateral is good until. */
const END = AT.getTime() + 30 * DAY
/** Enough for two sides to connect. */
const SOON = 1500
const OPTIONS = { commonName: 'one end', notBefore: AT, validForDays: 365 }
const servers: Server[] = []
let plain: TlsCredentials
let attested: TlsCredentials

beforeAll(async () => {
  plain = await issueTlsCredentials(OPTIONS)
  attested = await issueAttestedCredentials({ ...OPTIONS, source })
})
afterEach(() => {
  for (const server of servers.splice(0)) server.close()
})

/** A clock that says `left` milliseconds before the end now, and goes on from there. */
function clock(left: number): () => Date {
  const start = performance.now()
  return () => new Date(END - left + (performance.now() - start))
}

const withClock = (now: () => Date): PeerRequirements => ({ ...requirements, now })

interface Ended {
  readonly code: string
  readonly verdict: string
}

/** Waits for a socket's end; gives the code of its error, if it ended with one. */
function codeAtEnd(socket: TLSSocket): Promise<string> {
  let code = 'none'
  socket.on('error', (error: NodeJS.ErrnoException) => {
    code = error.code ?? ''
  })
  return new Promise(resolve => {
    socket.once('close', () => resolve(code)).resume()
  })
}

/** Connects two sides that each appraise the other by a clock of their own. */
async function both(mode: 'fresh' | 'certificate', server: () => Date, client: () => Date) {
  let given: (what: Promise<Ended>) => void = () => {}
  const atServer = new Promise<Ended>(resolve => {
    given = resolve
  })
  const listening = createAttestedServer(
    {
      ...(mode === 'fresh' ? { mode, source } : { mode }),
      credentials: mode === 'fresh' ? plain : attested,
      clients: withClock(server),
    },
    (socket, { verdict }) => given(codeAtEnd(socket).then(code => ({ code, verdict }))),
  )
  servers.push(listening)
  await new Promise<void>(resolve => listening.listen(0, '127.0.0.1', resolve))
  const { port } = listening.address() as AddressInfo
  const own = mode === 'fresh' ? { mode, source } : { mode, credentials: attested }
  const to = { host: '127.0.0.1', port, ...own }
  const { socket } = await connectAttested({ ...withClock(client), ...to })
  return { socket, atClient: codeAtEnd(socket), atServer }
}

describe.each(['fresh', 'certificate'] as const)('a connection, %s', mode => {
  it('ends when what the client appraised the server with has ended', async () => {
    const { atClient, atServer } = await both(mode, clock(DAY), clock(SOON))
    expect(await atClient).toBe('EXPIRED')
    expect((await atServer).verdict).toBe('trusted')
  })

  it('ends when what the server appraised the client with has ended', async () => {
    const { atClient, atServer } = await both(mode, clock(SOON), clock(DAY))
    expect(await atServer).toEqual({ code: 'EXPIRED', verdict: 'trusted' })
    expect(await atClient).not.toBe('EXPIRED')
  })
})

describe('the end of a connection', () => {
  it('is not put off by a clock that stands still, or is put back', async () => {
    const standing = () => () => new Date(END - SOON)
    // Right while the other side is appraised, and then a day behind.
    const behind = () => {
      const right = clock(SOON)
      let asked = 0
      return () => new Date(right().getTime() - (asked++ < 1 ? 0 : DAY))
    }
    for (const wrong of [standing, behind]) {
      const { atClient } = await both('fresh', clock(DAY), wrong())
      expect(await atClient).toBe('EXPIRED')
    }
  })

  it('comes at once where the clock fails', async () => {
    let asked = 0
    const failing = () => {
      if (asked++ > 0) throw new Error('no clock')
      return new Date(END - DAY)
    }
    const { atClient } = await both('fresh', clock(DAY), failing)
    expect(await atClient).toBe('EXPIRED')
  })

  it('does not come before its time, even if that is longer than a timer runs', async () => {
    const { socket, atClient } = await both('fresh', clock(29 * DAY), clock(29 * DAY))
    await new Promise(resolve => setTimeout(resolve, 300))
    expect(socket.destroyed).toBe(false)
    socket.end()
    expect(await atClient).toBe('none')
  })
})
