import { createHash, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { readAppraisalPolicy } from '@cloister/attestation'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  issueAttestedCredentials,
  issueTlsCredentials,
  type TlsCredentials,
} from '../certificate/credentials.ts'
import { simQuoteSource } from '../quote-source/sim.ts'
import { AT, ENCLAVE, simWorld } from '../world.test.support.ts'
import { connectAttested, connectPinned } from './connect.ts'
import { refusalOf } from './refusal.test.support.ts'
import { createAttestedServer } from './server.ts'
import { type Peer, Peers } from './start-peer.test.support.ts'

const { platform, requirements, source } = simWorld()
const OPTIONS = { commonName: 'client', notBefore: AT, validForDays: 1 }
const peers = new Peers()
let credentials: TlsCredentials
let mutual: Peer
let demanding: Peer
let byCertificate: Peer
/** For hostile clients alone, so that it drops nobody else. */
let door: Peer

beforeAll(async () => {
  credentials = await issueTlsCredentials(OPTIONS)
  mutual = await peers.start('mutual', platform)
  demanding = await peers.start('demanding', platform, { credentials })
  byCertificate = await peers.start('certificate-mutual', platform)
  door = await peers.start('mutual', platform)
})
afterAll(() => peers.stop())

const keyOf = ({ cert }: TlsCredentials) => {
  const spki = new X509Certificate(cert).publicKey.export({ format: 'der', type: 'spki' })
  return new Uint8Array(createHash('sha256').update(spki).digest())
}
const to = ({ port }: Peer) => ({ ...requirements, host: '127.0.0.1', port, timeoutMs: 5000 })
const pinned = ({ port }: Peer) => ({
  ...{ host: '127.0.0.1', port, timeoutMs: 5000 },
  serverKeys: [keyOf(credentials)],
  source,
})

/** What another process says takes its time. */
const eventually = <T>(read: () => T) => expect.poll(read, { timeout: 10_000 })

async function echo(socket: NodeJS.ReadWriteStream): Promise<string> {
  socket.write('hello')
  const [answer] = await once(socket, 'data')
  socket.end()
  return String(answer)
}

describe('both sides prove themselves', () => {
  it('in fresh mode, with a certificate of the client’s and without', async () => {
    for (const own of [{}, { credentials: await issueTlsCredentials(OPTIONS) }]) {
      const before = mutual.appraised.length
      const { socket, appraisal } = await connectAttested({ ...to(mutual), source, ...own })
      expect(appraisal.verdict).toBe('trusted')
      expect(await echo(socket)).toBe('hello')
      await eventually(() => mutual.appraised.slice(before)).toEqual(['trusted'])
    }
  })

  it('and what a server says with its accept reaches the application', async () => {
    const own = await issueTlsCredentials(OPTIONS)
    const server = createAttestedServer(
      { credentials: own, source, clients: requirements },
      socket => socket.end('welcome, and goodbye'),
    )
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    const { socket } = await connectAttested({ ...to({ ...mutual, port }), source })
    const pieces: Buffer[] = []
    await new Promise(resolve => setTimeout(resolve, 200))
    for await (const piece of socket as AsyncIterable<Buffer>) pieces.push(piece)
    expect(Buffer.concat(pieces).toString()).toBe('welcome, and goodbye')
    server.close()
  })

  it('in certificate mode', async () => {
    const own = await issueAttestedCredentials({ ...OPTIONS, source })
    const { socket } = await connectAttested({
      ...to(byCertificate),
      mode: 'certificate',
      credentials: own,
    })
    expect(await echo(socket)).toBe('hello')
    await eventually(() => byCertificate.appraised.at(-1)).toBe('trusted')
  })

  it('and give no evidence to a server that demands none', async () => {
    const genuine = await peers.start('genuine', platform)
    let quotes = 0
    const counting = {
      quote: (reportData: Uint8Array) => {
        quotes += 1
        return source.quote(reportData)
      },
    }
    const { socket } = await connectAttested({ ...to(genuine), source: counting })
    expect(await echo(socket)).toBe('hello')
    await eventually(() => [quotes, genuine.appraised]).toEqual([0, ['nobody']])
  })
})

describe('a client alone proves itself', () => {
  it('to a server that it knows by its key', async () => {
    expect(await echo(await connectPinned(pinned(demanding)))).toBe('hello')
    await eventually(() => demanding.appraised.at(-1)).toBe('trusted')
  })

  it.each([
    ['has another key', 'accepts-anything', 'BINDING', {}],
    ['demands nothing', 'demands-nothing', 'PROTOCOL', undefined],
    ['gives evidence that nobody asked for', 'proves-unasked', 'PROTOCOL', undefined],
    ['names another protocol', 'other-protocol', 'TLS', undefined],
  ])('and gives no evidence when the server %s', async (_, kind, code, own = credentials) => {
    const peer = await peers.start(kind, platform, { credentials: own })
    expect(await refusalOf(connectPinned(pinned(peer)))).toBe(code)
    expect(peer.received).toEqual([])
  })

  it('and none where no key is pinned', async () => {
    expect(await refusalOf(connectPinned({ ...pinned(demanding), serverKeys: [] }))).toBe('BINDING')
  })

  it('and gets nothing when a server shows its evidence to another as its own', async () => {
    const before = demanding.dropped.length
    const diverting = await peers.start('divert', platform, {
      genuinePort: demanding.port,
      credentials,
    })
    expect(await refusalOf(connectPinned(pinned(diverting)))).toBe('REFUSED')
    expect(diverting.diverted).toEqual([true])
    expect(diverting.received).toEqual([])
    await eventually(() => demanding.dropped.slice(before)).toContain('BINDING')
  })
})

describe('a client’s evidence', () => {
  it.each([
    ['gives none itself', 'demands-for-nothing', 'EVIDENCE'],
    ['replays another’s', 'demands-with-replay', 'BINDING'],
    ['makes its evidence for another demand', 'other-demand', 'BINDING'],
  ])('is not shown to a server that demands it and %s', async (_, kind, code) => {
    const peer = await peers.start(kind, platform, { genuinePort: mutual.port })
    expect(await refusalOf(connectAttested({ ...to(peer), source }))).toBe(code)
    expect(peer.received).toEqual([])
  })

  it('is not shown to a server that runs other code than the policy names', async () => {
    const own = await peers.start('mutual', platform)
    const policy = readAppraisalPolicy({
      version: 1,
      tees: ['sim'],
      enclaves: [{ mrEnclave: '33'.repeat(32) }],
      platform: { tcbStatuses: ['UpToDate'] },
    })
    expect(await refusalOf(connectAttested({ ...to(own), policy, source }))).toBe('REJECTED')
    // It waited for a proof, and the connection ended.
    await eventually(() => own.dropped).toEqual(['PROTOCOL'])
    expect(own.appraised).toEqual([])
  })

  it.each([
    ['never says whether it believes it', 'demands-and-is-silent', 'TIMEOUT'],
    ['ends the connection', 'demands-and-refuses', 'REFUSED'],
    ['says something else', 'demands-and-babbles', 'PROTOCOL'],
  ])('is worth no connection where the server %s', async (_, kind, code) => {
    const peer = await peers.start(kind, platform)
    const attempt = connectAttested({ ...to(peer), source, timeoutMs: 1500 })
    expect(await refusalOf(attempt)).toBe(code)
  })

  it('is demanded: without a source, or one that fails, there is no connection', async () => {
    expect(await refusalOf(connectAttested(to(mutual)))).toBe('OWN_EVIDENCE')
    const broken = { quote: () => Promise.reject(new Error('no device')) }
    expect(await refusalOf(connectAttested({ ...to(mutual), source: broken }))).toBe('OWN_EVIDENCE')
    const slow = { quote: () => new Promise<never>(() => {}) }
    const attempt = connectAttested({ ...to(mutual), source: slow, timeoutMs: 500 })
    expect(await refusalOf(attempt)).toBe('TIMEOUT')
  })

  it('of other code is refused by the server, and the client is told', async () => {
    const other = simQuoteSource(platform, { ...ENCLAVE, mrEnclave: new Uint8Array(32) })
    expect(await refusalOf(connectAttested({ ...to(mutual), source: other }))).toBe('REFUSED')
    await eventually(() => mutual.dropped).toContain('REJECTED')
  })
})

describe('a hostile client is not let in', () => {
  it('while an honest one is that uses the same code', async () => {
    for (const kind of ['honest', 'honest-with-certificate']) {
      expect(await peers.attempt(kind, platform, door.port)).toEqual([
        { accepted: true, echoed: 5 },
      ])
    }
    expect(await peers.attempt('certificate-honest', platform, byCertificate.port)).toEqual([
      { accepted: false, echoed: 5 },
    ])
  })

  it.each([
    ['passes over the demand', 'proves-nothing', 'PROTOCOL'],
    ['speaks with its hello, as if nothing were demanded', 'speaks-at-once', 'PROTOCOL'],
    ['demands nothing itself, and passes over the demand', 'demands-nothing', 'PROTOCOL'],
    ['proves by garbage', 'garbage', 'PROTOCOL'],
    ['proves by nothing', 'empty-proof', 'PROTOCOL'],
    ['proves by 64 MiB', 'huge', 'PROTOCOL'],
    ['proves by evidence that is garbage', 'garbage-evidence', 'EVIDENCE'],
    ['proves a byte at a time', 'slow-proof', 'TIMEOUT'],
    ['sends back the server’s own evidence', 'reflects', 'BINDING'],
    ['has evidence of a server', 'as-server', 'BINDING'],
    ['has evidence over another answer', 'over-another-answer', 'BINDING'],
    ['has evidence about another connection', 'other-connection', 'BINDING'],
    ['has evidence for another server', 'other-server', 'BINDING'],
    ['has evidence over a certificate that it does not show', 'no-certificate-shown', 'BINDING'],
    ['shows another certificate', 'other-certificate-shown', 'BINDING'],
    ['shows a certificate that its evidence leaves out', 'certificate-left-out', 'BINDING'],
    ['runs other code', 'other-code', 'REJECTED'],
    ['is a debug enclave', 'debug', 'REJECTED'],
    ['is on a platform of its own', 'other-platform', 'EVIDENCE'],
    ['speaks the version before', 'old-protocol', 'ERR_SSL_NO_APPLICATION_PROTOCOL'],
    ['names no protocol', 'no-protocol', 'TLS'],
    ['speaks TLS 1.2', 'tls-1.2', 'ERR_SSL_UNSUPPORTED_PROTOCOL'],
  ])('when it %s', { timeout: 20_000 }, async (_, kind, code) => {
    const before = [door.dropped.length, door.received.length, door.appraised.length]
    const attempts = await peers.attempt(kind, platform, door.port)
    expect(attempts).toEqual([{ accepted: false, echoed: 0 }])
    await eventually(() => door.dropped.slice(before[0])).toEqual([code])
    expect([door.received.length, door.appraised.length]).toEqual(before.slice(1))
  })

  it('when it replays evidence that was accepted', async () => {
    const before = door.appraised.length
    expect(await peers.attempt('replays', platform, door.port)).toEqual([
      { accepted: true, echoed: 5 },
      { accepted: false, echoed: 0 },
    ])
    expect(door.appraised.length).toBe(before + 1)
    await eventually(() => door.dropped.at(-1)).toBe('BINDING')
  })

  it('when it resumes a session in which it was believed', async () => {
    for (const [server, kind, accepted] of [
      [door, 'resumes', true],
      [byCertificate, 'certificate-resumes', false],
    ] as const) {
      expect(await peers.attempt(kind, platform, server.port)).toEqual([
        { accepted, echoed: 5 },
        { accepted: false, echoed: 0 },
      ])
      await eventually(() => server.dropped.at(-1)).toBe('TLS')
    }
  })

  it.each([
    ['no certificate', 'certificate-none', 'TLS'],
    ['a certificate without evidence', 'certificate-plain', 'EVIDENCE'],
    ['another’s evidence in a certificate of its own', 'certificate-stolen', 'BINDING'],
    ['a certificate that has ended', 'certificate-expired', 'BINDING'],
    ['evidence of other code', 'certificate-other-code', 'REJECTED'],
  ])('by certificate, when it shows %s', async (_, kind, code) => {
    const before = [byCertificate.dropped.length, byCertificate.received.length]
    const attempts = await peers.attempt(kind, platform, byCertificate.port)
    expect(attempts).toEqual([{ accepted: false, echoed: 0 }])
    await eventually(() => byCertificate.dropped.slice(before[0])).toEqual([code])
    expect(byCertificate.received.length).toBe(before[1])
  })
})
