import { once } from 'node:events'
import { request as httpsRequest } from 'node:https'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { tlsNameOf } from '../../protocol/public-key.ts'
import { EhsmTestClient, exchange } from '../ehsm/client.test.support.ts'
import { Scene, World } from '../flow.test.support.ts'
import { addressRange, RateLimits } from './rate-limits.ts'
import { type RawAnswer, rawCall } from './raw-call.test.support.ts'

const from = (ip: string) => ({ ip, isCounted: false })

/** A key service with limits, that goes away with the test. */
async function limited(options: Parameters<typeof World.start>[0]) {
  const log: string[] = []
  const world = await World.start({
    metrics: { port: 0 },
    logTo: line => log.push(line),
    ...options,
  })
  onTestFinished(() => world.stop())
  const call = (path: string, more: Partial<Parameters<typeof rawCall>[1]> = {}) =>
    rawCall(world.kms.pin, { method: 'GET', path, ...more })
  const limitedBy = async (by: string) => {
    const text = await (await fetch(world.kms.metricsUrl ?? '')).text()
    return Number(
      new RegExp(`^cloister_rate_limited_total{by="${by}"} (\\d+)$`, 'm').exec(text)?.[1],
    )
  }
  return { world, log, call, limitedBy }
}

/** Expects the refusal of a request that was one too many. */
function isLimited({ headers, status, text }: RawAnswer) {
  expect({ status, code: JSON.parse(text).code }).toEqual({ status: 429, code: 'RATE_LIMITED' })
  expect(Number(headers['retry-after'])).toBeGreaterThan(0)
}

describe('a rate', () => {
  it('is let through for ten seconds’ worth at once, and then as it comes', () => {
    vi.useFakeTimers({ toFake: ['performance'] })
    onTestFinished(() => void vi.useRealTimers())
    const limits = new RateLimits({ account: 2, address: 5 }, () => {})
    const passed = (ip: string, count: number) =>
      Array.from({ length: count }, () => limits.countUnproven(from(ip))).filter(
        refusal => refusal === undefined,
      ).length
    expect(passed('192.0.2.1', 100)).toBe(50)
    expect(limits.countUnproven(from('192.0.2.1'))?.retryAfterSeconds).toBe(1)
    expect(passed('192.0.2.2', 100)).toBe(50)
    vi.advanceTimersByTime(2000)
    expect(passed('192.0.2.1', 100)).toBe(10)
    for (let count = 0; count < 20; count++) limits.countFor(from(''), 'one')
    expect(() => limits.countFor(from(''), 'one')).toThrow(
      expect.objectContaining({ code: 'RATE_LIMITED' }),
    )
    limits.countFor(from(''), 'another')
  })

  it('of 0 lets everything through', () => {
    const limits = new RateLimits({ account: 0, address: 0 }, () => {})
    for (let count = 0; count < 10_000; count++) {
      expect(limits.countUnproven(from('192.0.2.1'))).toBeUndefined()
      limits.countFor(from(''), 'one')
    }
  })

  it('takes bounded room, from however many addresses a flood comes', () => {
    const limits = new RateLimits({ account: 1, address: 1 }, () => {})
    const flood = (network: number) => {
      for (let host = 0; host < 100_000; host++) {
        const [high, low] = [network.toString(16), host.toString(16)]
        limits.countUnproven(from(`2001:db8:${high}:${low}::1`))
      }
      return process.memoryUsage().heapUsed
    }
    flood(0)
    const before = flood(1)
    let after = before
    for (let network = 2; network < 4; network++) after = flood(network)
    expect((after - before) / 2 ** 20).toBeLessThan(64)
  })

  it.each([
    ['192.0.2.7', '192.0.2.7'],
    ['::ffff:192.0.2.7', '192.0.2.7'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:db8:1:2::ffff', '2001:db8:1:2::/64'],
    ['2001:DB8:0001:2:ffff::', '2001:db8:1:2::/64'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
  ])('of %s is that of %s', (ip, range) => {
    expect(addressRange(ip)).toBe(range)
  })
})

describe('a flood', () => {
  it('of what anybody may ask is refused by address, before it is looked at', async () => {
    const { call, limitedBy, log, world } = await limited({ rates: { account: 0, address: 1 } })
    const owner = await world.enrol()
    const answers: RawAnswer[] = []
    for (let count = 0; count < 30; count++) answers.push(await call('/v1/kms'))
    const refusals = answers.filter(({ status }) => status !== 200)
    expect(refusals.length).toBeGreaterThan(15)
    for (const refusal of refusals) isLimited(refusal)
    for (const path of ['/v1/attest', '/v1/enrol', '/v1/challenge', '/v1/nothing']) {
      isLimited(await call(path, { method: 'POST', body: '{' }))
    }
    const lines = log.filter(line => line.includes('"route":"/v1/kms"'))
    expect(lines.length).toBe(answers.length - refusals.length)
    expect(await limitedBy('address')).toBeGreaterThan(15)
    // Whoever proves to be an account is not held up by others at its address.
    for (let count = 0; count < 30; count++) await owner.listKeys()
  })

  it('of bodies as long as evidence is refused before they have come in', async () => {
    const { call, world } = await limited({ rates: { account: 0, address: 1 } })
    for (let count = 0; count < 15; count++) await call('/v1/kms')
    const sent = httpsRequest(new URL('/v1/release', world.kms.pin.url), {
      method: 'POST',
      ca: world.kms.pin.certificate,
      servername: tlsNameOf(world.kms.pin.kmsId),
      headers: { 'content-type': 'application/json', 'content-length': String(8 << 20) },
    })
    onTestFinished(() => void sent.destroy())
    // Of 8 MiB no more than this is ever sent.
    sent.write('{"jws":"')
    const [answer] = await once(sent, 'response')
    expect(answer.statusCode).toBe(429)
  })

  it('does not hold up an instance at its address, whose request is short', async () => {
    const { world } = await limited({ rates: { account: 0, address: 1 } })
    const scene = await Scene.make(world, await world.enrol())
    const session = await scene.attest()
    const { pin } = world.kms
    for (let count = 0; count < 15; count++) await rawCall(pin, { method: 'GET', path: '/v1/kms' })
    isLimited(await rawCall(pin, { method: 'GET', path: '/v1/kms' }))
    await session.release(scene.parts())
  })

  it('of wrong credentials is refused by address, and leaves the audit log as it is', async () => {
    const { call, log, world } = await limited({ rates: { account: 0, address: 1 } })
    const owner = await world.enrol()
    const wrong = `${'0'.repeat(32)}.${'B'.repeat(43)}`
    const statuses: number[] = []
    for (let count = 0; count < 40; count++) {
      statuses.push((await call('/v1/keys', { credential: wrong })).status)
    }
    expect(statuses.filter(status => status === 401).length).toBeLessThan(15)
    expect(statuses.at(-1)).toBe(429)
    expect(log.filter(line => line.includes('"refused"')).length).toBeLessThan(15)
    isLimited(await call('/v1/release', { method: 'POST', body: '{"jws":"a.b.c"}' }))
    isLimited(await call('/v1/operator/tenants', { credential: wrong }))
    await owner.listKeys()
  })

  it('of one account is refused, and others go on', async () => {
    const { call, limitedBy, world } = await limited({ rates: { account: 1, address: 0 } })
    const one = await world.account()
    const another = await world.account()
    const answers: RawAnswer[] = []
    for (let count = 0; count < 20; count++) {
      answers.push(await call('/v1/keys', { credential: one.credential }))
    }
    expect(answers.filter(({ status }) => status === 200).length).toBeLessThan(15)
    isLimited(answers.at(-1) ?? answers[0] ?? (await call('/v1/kms')))
    expect((await call('/v1/keys', { credential: another.credential })).status).toBe(200)
    const rows = await another.client.audit()
    expect(JSON.stringify(rows)).not.toContain('RATE_LIMITED')
    expect(await limitedBy('account')).toBeGreaterThan(4)
  })

  it('by an address that a header claims is of whoever sent it, but for a trusted proxy', async () => {
    const spread = (count: number) => ({ headers: { 'x-forwarded-for': `198.51.100.${count}` } })
    const direct = await limited({ rates: { account: 0, address: 1 } })
    const proxied = await limited({
      rates: { account: 0, address: 1 },
      trustedProxies: ['127.0.0.0/8'],
    })
    const [seen, through]: number[][] = [[], []]
    for (let count = 0; count < 20; count++) {
      seen?.push((await direct.call('/v1/kms', spread(count))).status)
      through?.push((await proxied.call('/v1/kms', spread(count))).status)
    }
    expect(seen).toContain(429)
    expect(through).not.toContain(429)
    // What stands before the proxy's own entry came from the client.
    const claimed: number[] = []
    for (let count = 0; count < 20; count++) {
      const chain = { headers: { 'x-forwarded-for': `198.51.100.${count}, 203.0.113.1` } }
      claimed.push((await proxied.call('/v1/kms', chain)).status)
    }
    expect(claimed).toContain(429)
  })
})

describe('the eHSM interface', () => {
  it('refuses what is too much in its envelope, and takes the same request later', async () => {
    const { world } = await limited({
      rates: { account: 1, address: 0 },
      ehsm: { openEnrolment: true, openKeys: true },
    })
    const { pin } = world.kms
    const client = await EhsmTestClient.enroll(pin)
    let last = client.signed({})
    let answer = await exchange(pin, 'POST', 'ListKey', last)
    for (let count = 0; count < 30 && answer.envelope.code === 200; count++) {
      last = client.signed({})
      answer = await exchange(pin, 'POST', 'ListKey', last)
    }
    expect(answer.status).toBe(200)
    expect(answer.envelope).toEqual({
      code: 429,
      message: 'too many requests of this account',
      result: {},
    })
    await vi.waitFor(
      async () => {
        expect((await exchange(pin, 'POST', 'ListKey', last)).envelope.code).toBe(200)
      },
      { timeout: 5000, interval: 200 },
    )
  })

  it('refuses by address what is signed wrong, and what anybody may ask', async () => {
    const { call, world } = await limited({
      rates: { account: 0, address: 1 },
      ehsm: { openEnrolment: true, openKeys: true },
    })
    const { pin } = world.kms
    const client = await EhsmTestClient.enroll(pin)
    const codes: number[] = []
    for (let count = 0; count < 20; count++) {
      const body = client.signed({}).replace(/"sign":"..../, '"sign":"AAAA')
      codes.push((await exchange(pin, 'POST', 'ListKey', body)).envelope.code)
    }
    expect(codes[0]).toBe(400)
    expect(codes.at(-1)).toBe(429)
    for (const action of ['Enroll', 'GetVersion']) {
      expect((await exchange(pin, 'GET', action)).envelope.code).toBe(429)
    }
    const { headers } = await call('/ehsm?Action=GetVersion')
    expect(Number(headers['retry-after'])).toBeGreaterThan(0)
    expect((await client.call('ListKey', {})).envelope.code).toBe(200)
  })
})

describe('the id of a request', () => {
  it('is made by the service, borne by the answer, and in the log', async () => {
    const { call, log } = await limited({ rates: { account: 0, address: 0 } })
    const given = { headers: { 'x-request-id': 'given-by-a-client' } }
    const ids: unknown[] = []
    for (const path of ['/v1/kms', '/v1/keys', '/v1/nothing', '/ehsm?Action=GetVersion']) {
      ids.push((await call(path, given)).headers['x-request-id'])
    }
    expect(new Set(ids).size).toBe(4)
    for (const id of ids) {
      expect(id).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)
      expect(log.some(line => JSON.parse(line).requestId === id)).toBe(true)
    }
    expect(log.join()).not.toContain('given-by-a-client')
  })
})
