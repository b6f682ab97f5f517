import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Collateral, createSimPlatform, verifyEvidence } from '@cloister/attestation'
import { afterEach, describe, expect, it } from 'vitest'
import { CollateralClient, type CollateralClientOptions } from './client.ts'
import { CollateralUnavailableError } from './errors.ts'
import { platformOfQuote } from './platform.ts'
import { replyFrom, type SimulatedPcs, startService } from './simulated-pcs.test.support.ts'
import { alibabaPccs, INTEL_PCS, pccsAt, upstreamOf } from './upstream.ts'

const AT = new Date('2026-03-01T00:00:00Z')
const DAY = 24 * 60 * 60 * 1000
const platform = createSimPlatform({ createdAt: new Date(AT.getTime() - DAY) })
const other = createSimPlatform({ createdAt: new Date(AT.getTime() - DAY) })
const enclave = {
  ...{ mrEnclave: new Uint8Array(32), mrSigner: new Uint8Array(32) },
  ...{ isvProdId: 0, isvSvn: 0, debug: false, reportData: new Uint8Array(64) },
}
const evidence = platform.quote(enclave)
const wanted = platformOfQuote(evidence)
const roots = [platform.trustRoot]

const services: SimulatedPcs[] = []
const folders: string[] = []

afterEach(async () => {
  for (const service of services.splice(0)) service.close()
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true, force: true })
})

/** A service that answers as a cache of Intel's does, with what it is given. */
async function serving(
  collateral: () => Collateral,
  before: (request: IncomingMessage, response: ServerResponse) => boolean = () => false,
) {
  const service = await startService((request, response) => {
    if (before(request, response)) return undefined
    return replyFrom(collateral(), request.url ?? '') ?? { status: 404 }
  })
  services.push(service)
  return { upstream: service.pccs, asked: service.asked }
}

const good = () => platform.collateral(AT)

function client(
  upstreams: CollateralClientOptions['upstreams'],
  options: Partial<CollateralClientOptions> = {},
): CollateralClient {
  return new CollateralClient({ upstreams, roots, now: () => AT, timeoutMs: 1500, ...options })
}

async function reasonOf(run: Promise<unknown>): Promise<string> {
  try {
    await run
  } catch (error) {
    if (error instanceof CollateralUnavailableError) return error.reasons.join('; ')
    throw error
  }
  return 'none'
}

async function newFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'cloister-collateral-'))
  folders.push(folder)
  return folder
}

describe('collateral from a service', () => {
  it('is verified, kept, and verifies evidence', async () => {
    const { upstream, asked } = await serving(good)
    const at = client([upstream])
    const { verified, from } = await at.get(wanted)
    expect(from).toBe(upstream.name)
    expect(verifyEvidence({ evidence, collateral: verified, roots, at: AT }).kind).toBe('enclave')
    expect(asked.map(url => url.split('/v4/')[1])).toEqual(
      expect.arrayContaining([`tcb?fmspc=${wanted.fmspc}`, 'pckcrl?ca=platform&encoding=der']),
    )
    await at.get(wanted)
    expect(asked).toHaveLength(4)
  })

  it('is that of trust domains for a trust domain', async () => {
    const { upstream, asked } = await serving(() => platform.tdxCollateral(AT))
    const td = platformOfQuote(platform.quoteTd({}))
    const { verified } = await client([upstream]).get(td)
    expect(verified).toMatchObject({ of: 'TDX' })
    expect(asked.some(url => url.startsWith('/tdx/certification/v4/tcb'))).toBe(true)
  })

  it('is fetched once for all who ask at once', async () => {
    const { upstream, asked } = await serving(good)
    const at = client([upstream])
    await Promise.all(Array.from({ length: 50 }, () => at.get(wanted)))
    expect(asked).toHaveLength(4)
  })
})

describe('a service that is hostile or ill', () => {
  const flip = (text: string) => text.replace('UpToDate', 'uPToDate')
  const hostile: readonly (readonly [string, () => Collateral, string])[] = [
    ['changes a byte', () => ({ ...good(), tcbInfo: flip(good().tcbInfo) }), 'signature'],
    ['serves another root’s', () => other.collateral(AT), 'no pinned root'],
    [
      'serves what is stale',
      () => platform.collateral(new Date(AT.getTime() - 60 * DAY)),
      'expired',
    ],
    [
      'serves what is of tomorrow',
      () => platform.collateral(new Date(AT.getTime() + DAY)),
      'too new',
    ],
    ['serves the TEE’s other', () => platform.tdxCollateral(AT), 'another platform'],
    [
      'swaps the lists',
      () => ({ ...good(), pckCrl: good().rootCaCrl }),
      'revocation list is not by',
    ],
    ['has no list', () => ({ ...good(), pckCrl: new Uint8Array() }), 'no revocation list'],
  ]
  it.each(hostile)('that %s is refused, and the next is asked', async (_what, serve, reason) => {
    const { upstream: bad } = await serving(serve)
    expect(await reasonOf(client([bad]).get(wanted))).toContain(reason)
    const { upstream } = await serving(good)
    const { from, verified } = await client([bad, upstream]).get(wanted)
    expect(from).toContain(upstream.name)
    expect(verifyEvidence({ evidence, collateral: verified, roots, at: AT }).kind).toBe('enclave')
  })

  it('that sends 64 MiB is left off in the middle', async () => {
    const { upstream } = await serving(good, (_request, response) => {
      const chunk = Buffer.alloc(1 << 20, 0x20)
      let left = 64
      const more = () => {
        while (left-- > 0) if (!response.write(chunk)) return void response.once('drain', more)
        response.end()
      }
      more()
      return true
    })
    expect(await reasonOf(client([upstream]).get(wanted))).toContain('more than')
  })

  it('that hangs, redirects, or is not there is given up', async () => {
    const { upstream: hanging } = await serving(good, () => true)
    const started = Date.now()
    expect(await reasonOf(client([hanging], { timeoutMs: 100 }).get(wanted))).toContain(
      'not reached',
    )
    expect(Date.now() - started).toBeLessThan(5000)
    const { upstream: elsewhere } = await serving(good, (_request, response) => {
      response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end()
      return true
    })
    expect(await reasonOf(client([elsewhere]).get(wanted))).toContain('answered 302')
    expect(await reasonOf(client([pccsAt('http://127.0.0.1:9')]).get(wanted))).toContain(
      'not reached',
    )
  })

  it('that is busy is asked again', async () => {
    let busy = 2
    const { upstream } = await serving(good, (_request, response) => {
      if (busy-- <= 0) return false
      response.writeHead(429).end()
      return true
    })
    expect((await client([upstream]).get(wanted)).from).toBe(upstream.name)
  })

  it('is asked last after it failed', async () => {
    const { upstream: bad, asked } = await serving(() => other.collateral(AT))
    const { upstream, asked: goodAsked } = await serving(good)
    const clock = { now: AT }
    const at = client([bad, upstream], { now: () => clock.now, refreshAfterMs: -1 })
    await at.get(wanted)
    expect(asked).toHaveLength(3)
    await at.get(wanted)
    await expect.poll(() => goodAsked.length).toBeGreaterThan(4)
    expect(asked).toHaveLength(3)
  })
})

describe('what was kept', () => {
  it('serves over a restart, and when no service is there', async () => {
    const folder = await newFolder()
    const { upstream } = await serving(good)
    await client([upstream], { folder }).get(wanted)
    expect((await readdir(folder)).every(name => name.endsWith('.document'))).toBe(true)
    const dead = pccsAt('http://127.0.0.1:9')
    expect((await client([dead], { folder }).get(wanted)).from).toBe('kept')
  })

  it('is not believed when it was altered', async () => {
    const folder = await newFolder()
    const { upstream } = await serving(good)
    await client([upstream], { folder }).get(wanted)
    const names = await readdir(folder)
    const name = names.find(one => one.startsWith('tcb-info')) ?? ''
    const kept = await readFile(join(folder, name), 'utf8')
    await writeFile(join(folder, name), kept.replace('UpToDate', 'uPToDate'))
    const dead = pccsAt('http://127.0.0.1:9')
    expect(await reasonOf(client([dead], { folder }).get(wanted))).toContain('not reached')
    expect((await client([upstream], { folder }).get(wanted)).from).toContain(upstream.name)
  })

  it('is served while newer is fetched behind the caller’s back', async () => {
    const { upstream, asked } = await serving(good)
    const clock = { now: AT }
    const at = client([upstream], { now: () => clock.now })
    await at.get(wanted)
    clock.now = new Date(AT.getTime() + DAY)
    expect((await at.get(wanted)).from).toBe(upstream.name)
    await expect.poll(() => asked.length).toBe(8)
  })

  it('serves past its end for as long as was granted, and no longer', async () => {
    const folder = await newFolder()
    const { upstream } = await serving(good)
    await client([upstream], { folder }).get(wanted)
    const dead = pccsAt('http://127.0.0.1:9')
    const after = (days: number, graceDays: number) =>
      reasonOf(
        client([dead], {
          ...{ folder, graceDays },
          now: () => new Date(AT.getTime() + (30 + days) * DAY),
        }).get(wanted),
      )
    expect(await after(1, 0)).toContain('not reached')
    expect(await after(1, 2)).toBe('none')
    expect(await after(3, 2)).toContain('not reached')
  })
})

describe('upstreams', () => {
  it('have names', () => {
    expect(upstreamOf('intel')).toBe(INTEL_PCS)
    expect(upstreamOf('alibaba:cn-hangzhou').baseUrl).toBe(
      'https://sgx-dcap-server.cn-hangzhou.aliyuncs.com',
    )
    expect(upstreamOf('https://pccs.example:8081/').baseUrl).toBe('https://pccs.example:8081')
    expect(() => alibabaPccs('cn/../evil')).toThrow(TypeError)
    expect(() => upstreamOf('ftp://pccs.example')).toThrow(TypeError)
  })
})
