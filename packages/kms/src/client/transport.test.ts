import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { Type } from '@sinclair/typebox'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import type { KmsPin } from '../protocol/pin.ts'
import { World } from '../server/flow.test.support.ts'
import {
  identityFrom,
  issueIdentityCertificate,
  issueTlsCredentials,
  newIdentityKey,
} from '../server/identity/kms-identity.ts'
import { type Call, Transport } from './transport.ts'

interface Scripted {
  readonly status: number
  readonly retryAfter?: string
}

const DONE: Scripted = { status: 200 }
const BUSY: Scripted = { status: 429 }
const AWAY: Scripted = { status: 503 }

const CODES: Readonly<Record<number, string>> = { 429: 'RATE_LIMITED', 503: 'UNAVAILABLE' }

/** A key service that says what it is told to, in order; the transport that asks it, and its waits. */
async function scripted(answers: readonly Scripted[]) {
  const at = new Date()
  const identity = identityFrom(newIdentityKey())
  let asked = 0
  const server = createServer(await issueTlsCredentials(identity, at), (_request, response) => {
    const { status, retryAfter } = answers[Math.min(asked++, answers.length - 1)] ?? DONE
    if (retryAfter !== undefined) response.setHeader('retry-after', retryAfter)
    const refusal = { code: CODES[status], message: 'as told', reasons: [] }
    response.writeHead(status).end(JSON.stringify(status === 200 ? {} : refusal))
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const pin: KmsPin = {
    kmsId: identity.kmsId,
    identityKey: identity.identityKey,
    certificate: await issueIdentityCertificate(identity, at),
    url: `https://127.0.0.1:${port}`,
  }
  const waits: number[] = []
  const transport = new Transport(pin, {
    socketPath: undefined,
    timeoutMs: 5000,
    clientCertificate: undefined,
    sleep: async milliseconds => {
      waits.push(milliseconds)
    },
  })
  onTestFinished(() => {
    transport.close()
    server.close()
  })
  const send = (idempotent: boolean) => {
    const answer = Type.Object({})
    const call: Call<typeof answer> = { method: 'POST', path: '/', body: {}, idempotent, answer }
    return transport.send(call)
  }
  return { send, waits, asked: () => asked }
}

describe('a call is sent again', () => {
  it('when it was refused for its rate: it was not done', async () => {
    for (const idempotent of [true, false]) {
      const { asked, send } = await scripted([BUSY, BUSY, DONE])
      expect(await send(idempotent)).toEqual({})
      expect(asked()).toBe(3)
    }
  })

  it('when the service could not answer, and doing it twice does no harm', async () => {
    const safe = await scripted([AWAY, AWAY, DONE])
    expect(await safe.send(true)).toEqual({})
    const unsafe = await scripted([AWAY, DONE])
    await expect(unsafe.send(false)).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    expect(unsafe.asked()).toBe(1)
    expect(unsafe.waits).toEqual([])
  })

  it('no more than four times, each after a longer wait that is never the same', async () => {
    const { asked, send, waits } = await scripted([BUSY])
    await expect(send(true)).rejects.toMatchObject({ code: 'RATE_LIMITED' })
    expect(asked()).toBe(5)
    for (const [place, wait] of waits.entries()) expect(wait).toBeLessThanOrEqual(100 * 2 ** place)
    expect(new Set(waits).size).toBe(4)
  })

  it('no sooner than it asks for, and not after whatever it asks for', async () => {
    const soon = await scripted([{ ...BUSY, retryAfter: '2' }, DONE])
    await soon.send(true)
    expect(soon.waits[0]).toBeGreaterThanOrEqual(2000)
    expect(soon.waits[0]).toBeLessThanOrEqual(2100)
    for (const retryAfter of ['86400', '1e9', '-1', 'Fri, 31 Dec 2027 23:59:59 GMT']) {
      const late = await scripted([{ ...AWAY, retryAfter }, DONE])
      await late.send(true)
      expect(late.waits[0]).toBeLessThanOrEqual(5100)
    }
  })
})

describe('a client of a key service that limits its rate', () => {
  let world: World

  beforeAll(async () => {
    world = await World.start({ rates: { account: 1, address: 0 } })
  })

  afterAll(() => world.stop())

  it('gets its answers all the same, if later', async () => {
    const owner = await world.enrol()
    const begun = performance.now()
    for (let count = 0; count < 13; count++) expect(await owner.listKeys()).toEqual([])
    expect(performance.now() - begun).toBeGreaterThan(1500)
  })
})
