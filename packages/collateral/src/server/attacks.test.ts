import { readdir } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { exportSimPlatform } from '@cloister/attestation'
import { describe, expect, it, onTestFinished } from 'vitest'
import { pcksReply, platformAt } from '../simulated-pcs.test.support.ts'
import { pcsAt } from '../upstream.ts'
import {
  AT,
  FMSPC,
  PLATFORM,
  PPID,
  pckQuery,
  QEID,
  registration,
  type Served,
  SGX,
  serve,
  startPcs,
  startProcess,
  TDX,
} from './world.test.support.ts'

const other = platformAt(AT)

/** Something that must never be reached; tells what was. */
async function canary(): Promise<{ readonly url: string; readonly reached: string[] }> {
  const reached: string[] = []
  const server = createServer((request, response) => {
    reached.push(request.url ?? '')
    response.end('internal')
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, reached }
}

async function hostile(harm: string) {
  const elsewhere = await canary()
  const options = {
    ...{ harm, at: AT.toISOString(), elsewhere: elsewhere.url },
    ...{ platform: exportSimPlatform(PLATFORM), other: exportSimPlatform(other) },
  }
  const { url } = await startProcess('../hostile-pcs.test.support.js', options)
  return { upstream: pcsAt(url, `${url}/IntelSGXRootCA.der`), elsewhere }
}

describe('a hostile upstream', () => {
  const DOCUMENTS = [
    `${SGX}/tcb?fmspc=${FMSPC}`,
    `${TDX}/qe/identity`,
    `${SGX}/pckcrl?ca=platform&encoding=der`,
    `${SGX}/rootcacrl`,
    `${SGX}/pckcert?${pckQuery(5, { encrypted_ppid: PPID })}`,
  ]
  const harms: readonly (readonly [string, number])[] = [
    ['alters', 460],
    ['is another vendor', 460],
    ['serves what is stale', 460],
    ['serves what is of tomorrow', 460],
    ['swaps documents', 460],
    ['gives certificates of several platforms', 460],
    ['gives certificates for another PCE', 460],
    ['injects headers', 460],
    ['has no chains', 460],
    ['sends garbage', 460],
    ['nests JSON deeply', 460],
    ['sends 64 MiB', 460],
    ['sends headers without end', 502],
    ['hangs', 502],
    ['answers a byte at a time', 502],
    ['redirects', 502],
    ['breaks off', 502],
    ['is no HTTP service', 502],
  ]

  it.each(harms)(
    'that %s has nothing kept or served, and a good one is asked next',
    async (harm, status) => {
      const { upstream, elsewhere } = await hostile(harm)
      const pccs = await serve({ upstreams: [upstream], upstreamTimeoutMs: 300 })
      const answers = await Promise.all(DOCUMENTS.map(path => pccs.get(path)))
      const statuses = answers.map(answer => answer.status)
      expect(statuses).toContain(status)
      for (const [index, answer] of answers.entries()) {
        // What it does not harm is served; nothing else is, and never with what it put in.
        expect([200, 404, 460, 502]).toContain(answer.status)
        expect(answer.headers.get('x-injected')).toBe(null)
        if (statuses[index] !== 200) expect((await answer.json()) as object).toHaveProperty('code')
      }
      const kept = await readdir(join(pccs.dataDir, 'documents')).catch(() => [])
      const served = statuses.filter(one => one === 200).length
      if (served === 0) expect(kept).toEqual([])
      expect(elsewhere.reached).toEqual([])
      expect((await pccs.get('/health/live')).status).toBe(200)
      const good = await startPcs()
      const both = await serve({ upstreams: [upstream, good.pcs], upstreamTimeoutMs: 300 })
      for (const path of DOCUMENTS)
        expect([path, (await both.get(path)).status]).toEqual([path, 200])
    },
  )

  it('that serves an older list, still in date, takes nothing back', async () => {
    let issued = AT
    const upstream = await startPcs({ at: () => issued })
    const pccs = await serve({ upstreams: [upstream.pcs] })
    const path = `${SGX}/pckcrl?ca=platform&encoding=der`
    const before = Buffer.from(await (await pccs.get(path)).arrayBuffer())
    issued = new Date(AT.getTime() - 24 * 60 * 60 * 1000)
    const admin = { 'admin-token': pccs.adminToken }
    expect((await pccs.get(`${SGX}/refresh`, admin)).status).toBe(460)
    expect(Buffer.from(await (await pccs.get(path)).arrayBuffer())).toEqual(before)
  })
})

describe('certificates of another platform', () => {
  const stranger = new Uint8Array(16).fill(7)
  const theirs = () =>
    pcksReply(
      [6, 5, 4].map(svn =>
        PLATFORM.pckCertificate({
          ...{ ppid: stranger, components: Array<number>(16).fill(svn), pceSvn: svn + 8 },
        }),
      ),
    )
  const register = (pccs: Served, body: object) =>
    pccs.send('POST', `${SGX}/platforms`, body, { 'user-token': pccs.userToken })
  const served = async (pccs: Served, more: Readonly<Record<string, string>> = {}) =>
    await (await pccs.get(`${SGX}/pckcert?${pckQuery(5, more)}`)).text()

  it('do not replace those of a registered one, whoever sends them', async () => {
    let hostileNow = false
    const upstream = await startPcs({
      change: ({ url = '' }) => (hostileNow && url.includes('pckcerts') ? theirs() : undefined),
    })
    const pccs = await serve({ upstreams: [upstream.pcs] })
    expect((await register(pccs, registration())).status).toBe(200)
    const before = await served(pccs)
    hostileNow = true
    const admin = { 'admin-token': pccs.adminToken }
    expect((await pccs.get(`${SGX}/refresh?type=certs`, admin)).status).toBe(460)
    expect(await served(pccs)).toBe(before)
    // Another machine that has the user token registers under its QE id.
    const taken = registration({ enc_ppid: 'cd'.repeat(384), platform_manifest: 'ab' })
    expect((await register(pccs, taken)).status).toBe(460)
    expect(await served(pccs)).toBe(before)
  })

  it('are served to none but who showed the encrypted PPID they came for', async () => {
    const upstream = await startPcs({
      change: ({ url = '' }) => (url.includes('cdcdcd'.toUpperCase()) ? theirs() : undefined),
    })
    const pccs = await serve({ upstreams: [upstream.pcs] })
    // The attacker knows the victim's QE id, from a quote of its, and asks first.
    const wrong = await served(pccs, { encrypted_ppid: 'cd'.repeat(384) })
    const right = await served(pccs, { encrypted_ppid: PPID })
    expect(right).toMatch(/^-----BEGIN CERTIFICATE-----/)
    expect(right).not.toBe(wrong)
    expect((await register(pccs, registration())).status).toBe(200)
    const own = await served(pccs)
    expect(own).not.toBe(wrong)
    expect(await served(pccs, { encrypted_ppid: 'cd'.repeat(384) })).toBe(own)
    expect(QEID).toHaveLength(32)
  })
})

describe('requests that are to reach elsewhere', () => {
  it('name a list by an address, and nothing is ever fetched from it', async () => {
    const elsewhere = await canary()
    const upstream = await startPcs()
    const pccs = await serve({ upstreams: [upstream.pcs] })
    const root = 'https://certificates.trustedservices.intel.com/IntelSGXRootCA.der'
    const ask = async (uri: string) =>
      (await pccs.get(`${SGX}/crl?uri=${encodeURIComponent(uri)}`)).status
    expect(await ask(root)).toBe(200)
    const list = 'api.trustedservices.intel.com/sgx/certification/v4/pckcrl?ca=platform'
    expect(await ask(`https://${list}&encoding=der`)).toBe(200)
    const port = new URL(elsewhere.url).port
    const refused = [
      ...['', 'x', elsewhere.url, 'file:///etc/passwd', '/etc/passwd', '../../admin-token'],
      ...[`http://${list}`, `https://user@${list}`, `https://${list.replace('platform', 'x')}`],
      `https://127.0.0.1:${port}/IntelSGXRootCA.der`,
      `https://certificates.trustedservices.intel.com:${port}/IntelSGXRootCA.der`,
      `https://certificates.trustedservices.intel.com@127.0.0.1:${port}/IntelSGXRootCA.der`,
      `https://127.0.0.1:${port}#certificates.trustedservices.intel.com/IntelSGXRootCA.der`,
      'https://certificates.trustedservices.intel.com.evil.example/IntelSGXRootCA.der',
      'https://evil-certificates.trustedservices.intel.com.example/IntelSGXRootCA.der',
      'https://certificates.trustedservices.intel.com/IntelSGXRootCA.der/../../secret',
      'https://certificates.trustedservices.intel.com/%2e%2e/IntelSGXRootCA.txt',
      `https://api.trustedservices.intel.com/sgx/certification/v4/tcb?fmspc=${FMSPC}`,
      `${root}\r\nHost: evil`,
      `https://${'a'.repeat(3000)}/`,
    ]
    for (const uri of refused) {
      expect([uri, await ask(uri)]).toEqual([uri, 400])
    }
    expect((await pccs.get(`${SGX}/crl?uri=${root}&uri=${elsewhere.url}`)).status).toBe(400)
    expect(elsewhere.reached).toEqual([])
    expect(new Set(upstream.asked.map(url => url.split('?')[0]))).toEqual(
      new Set([`${SGX}/pckcrl`, '/IntelSGXRootCA.der']),
    )
  })

  it('hold paths and line breaks, which are refused before any look-up', async () => {
    const upstream = await startPcs()
    const pccs = await serve({ upstreams: [upstream.pcs] })
    for (const value of ['../../etc/passwd', '00906ED5000g', '%00', 'a%0d%0aSet-Cookie:x', '']) {
      for (const path of [`${SGX}/tcb?fmspc=${value}`, `${SGX}/pckcrl?ca=${value}`]) {
        const answer = await pccs.get(path)
        expect([path, answer.status]).toEqual([path, 400])
        expect(answer.headers.get('set-cookie')).toBe(null)
      }
    }
    const outside = await pccs.get(`${SGX}/../../../../etc/passwd`)
    expect(outside.status).toBe(404)
    expect(upstream.asked).toEqual([])
  })
})

describe('floods', () => {
  it('of the same question fetch once', async () => {
    const upstream = await startPcs()
    const pccs = await serve({ upstreams: [upstream.pcs] })
    const path = `${SGX}/tcb?fmspc=${FMSPC}`
    const all = await Promise.all(Array.from({ length: 200 }, () => pccs.get(path)))
    expect(new Set(all.map(answer => answer.status))).toEqual(new Set([200]))
    expect(upstream.asked.filter(url => url.includes('/tcb'))).toHaveLength(1)
  })

  it('of questions that have no answer neither flood the upstream nor stop what is kept', async () => {
    let underWay = 0
    let most = 0
    const upstream = await startPcs({
      before: ({ url = '' }, response) => {
        if (url.toLowerCase().includes(FMSPC) || !url.includes('/tcb')) return false
        most = Math.max(most, ++underWay)
        setTimeout(() => {
          underWay--
          response.writeHead(404).end()
        }, 100)
        return true
      },
    })
    const pccs = await serve({ upstreams: [upstream.pcs] })
    const good = `${SGX}/tcb?fmspc=${FMSPC}`
    expect((await pccs.get(good)).status).toBe(200)
    const fmspc = (index: number) => index.toString(16).padStart(12, '0')
    let isOver = false
    const flood = Promise.allSettled(
      Array.from({ length: 600 }, (_, index) => pccs.get(`${SGX}/tcb?fmspc=${fmspc(index)}`)),
    ).finally(() => {
      isOver = true
    })
    expect((await pccs.get(good)).status).toBe(200)
    expect(isOver).toBe(false)
    const statuses = (await flood).map(one => (one.status === 'fulfilled' ? one.value.status : 0))
    expect(new Set(statuses)).toEqual(new Set([404, 503]))
    expect(most).toBeLessThanOrEqual(16)
    // The same again is told from memory.
    const { length: before } = upstream.asked
    expect((await pccs.get(`${SGX}/tcb?fmspc=${fmspc(0)}`)).status).toBe(404)
    expect(upstream.asked).toHaveLength(before)
  })

  it('of bodies are refused before they are read, without a token', async () => {
    const pccs = await serve()
    const huge = { platforms: 'x'.repeat(10 << 20) }
    const put = pccs.send('PUT', `${SGX}/platformcollateral`, huge)
    // The connection may be cut before all is sent.
    const status = await put.then(
      answer => answer.status,
      () => 401,
    )
    expect(status).toBe(401)
    const long = registration({ platform_manifest: 'ab'.repeat(1 << 18) })
    const headers = { 'user-token': pccs.userToken }
    expect((await pccs.send('POST', `${SGX}/platforms`, long, headers)).status).toBe(413)
  })
})
