import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { connect as connectTcp } from 'node:net'
import { connect } from 'node:tls'
import { INTEL_ROOT, readAppraisalPolicy } from '@cloister/attestation'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseAttestedCertificate } from '../certificate/attested-certificate.ts'
import { derOf } from '../vectors.test.support.ts'
import { simWorld } from '../world.test.support.ts'
import { connectAttested } from './connect.ts'
import { encodeFrame, encodeHello, FRESH_PROTOCOL } from './frames.ts'
import { refusalOf } from './refusal.test.support.ts'
import { type Peer, Peers } from './start-peer.test.support.ts'

const { platform, requirements } = simWorld()
const peers = new Peers()
let genuine: Peer
let certificate: Peer

beforeAll(async () => {
  genuine = await peers.start('genuine', platform)
  certificate = await peers.start('certificate', platform)
})
afterAll(() => peers.stop())

const to = ({ port }: Peer) => ({ ...requirements, host: '127.0.0.1', port, timeoutMs: 5000 })

async function echo(peer: Peer, mode: 'fresh' | 'certificate'): Promise<string> {
  const { socket, appraisal } = await connectAttested({ ...to(peer), mode })
  expect(appraisal.evidence.tee).toBe('sim')
  socket.write('hello')
  const [answer] = await once(socket, 'data')
  socket.destroy()
  return String(answer)
}

describe('a genuine server', () => {
  it('is believed in fresh mode, and in certificate mode', async () => {
    expect(await echo(genuine, 'fresh')).toBe('hello')
    expect(await echo(certificate, 'certificate')).toBe('hello')
  })

  it('is read by OpenSSL, which finds the certificate that binds the key', async () => {
    const target = `127.0.0.1:${certificate.port}`
    const stdout = execFileSync('openssl', ['s_client', '-tls1_3', '-connect', target], {
      timeout: 10_000,
      input: '',
      stdio: ['pipe', 'pipe', 'ignore'],
    }).toString()
    expect(stdout).toContain('TLSv1.3')
    expect(parseAttestedCertificate(derOf(stdout)).form).toBe('interoperable')
  })

  it('is believed by the same code that the attackers use, when that tells the truth', async () => {
    expect(await echo(await peers.start('honest', platform), 'fresh')).toBe('hello')
  })
})

describe('the other side is not believed, and sent nothing', () => {
  it.each([
    ['relays the challenge to the genuine server over a connection of its own', 'relay', 'BINDING'],
    ['replays evidence that it recorded', 'replay', 'BINDING'],
    ['has evidence over an old nonce', 'stale-nonce', 'BINDING'],
    ['has evidence about another connection', 'other-connection', 'BINDING'],
    ['has evidence over another certificate', 'other-certificate', 'BINDING'],
    ['has evidence of a client', 'as-client', 'BINDING'],
    ['demands otherwise than its evidence says', 'other-demand', 'BINDING'],
    ['sends back what it was sent', 'echoes-hello', 'PROTOCOL'],
    ['answers with garbage', 'garbage', 'PROTOCOL'],
    ['answers with evidence that is garbage', 'garbage-evidence', 'EVIDENCE'],
    ['answers with no evidence', 'no-evidence', 'EVIDENCE'],
    ['answers with 64 MiB', 'huge', 'PROTOCOL'],
    ['ends within its answer', 'cut-short', 'PROTOCOL'],
    ['speaks TLS 1.2 alone', 'tls-1.2', 'TLS'],
    ['names no protocol', 'no-protocol', 'TLS'],
    ['names another protocol', 'other-protocol', 'TLS'],
    ['speaks the version before alone', 'old-protocol', 'TLS'],
    ['speaks no TLS', 'no-tls', 'TLS'],
  ])('when it %s', async (_, kind, code) => {
    const peer = await peers.start(kind, platform, { genuinePort: genuine.port })
    expect(await refusalOf(connectAttested(to(peer)))).toBe(code)
    expect(await refusalOf(connectAttested(to(peer)))).toBe(code)
    expect(peer.received).toEqual([])
  })

  it('when it ends the connection as soon as it stands', async () => {
    const peer = await peers.start('ends-at-once', platform)
    for (let i = 0; i < 20; i++) {
      expect(['TLS', 'PROTOCOL']).toContain(await refusalOf(connectAttested(to(peer))))
    }
  })

  it.each([
    ['says nothing', 'silent'],
    ['answers a byte at a time', 'slow-loris'],
    ['takes the connection and makes no handshake', 'no-handshake'],
  ])('in time when it %s', async (_, kind) => {
    const peer = await peers.start(kind, platform)
    const started = performance.now()
    expect(await refusalOf(connectAttested({ ...to(peer), timeoutMs: 700 }))).toBe('TIMEOUT')
    expect(performance.now() - started).toBeLessThan(3000)
    expect(peer.received).toEqual([])
  })

  it.each(['fresh', 'certificate'] as const)(
    'when it is simulated and Intel is pinned, %s',
    async mode => {
      const peer = mode === 'fresh' ? genuine : certificate
      const attempt = connectAttested({ ...to(peer), mode, roots: [INTEL_ROOT] })
      expect(await refusalOf(attempt)).toBe('EVIDENCE')
    },
  )

  it.each(['fresh', 'certificate'] as const)(
    'when the policy names another enclave, %s',
    async mode => {
      const policy = readAppraisalPolicy({
        version: 1,
        tees: ['sim'],
        enclaves: [{ mrEnclave: '33'.repeat(32) }],
        platform: { tcbStatuses: ['UpToDate'] },
      })
      const peer = mode === 'fresh' ? genuine : certificate
      const error: unknown = await connectAttested({ ...to(peer), mode, policy }).catch(
        (reason: unknown) => reason,
      )
      expect(error).toMatchObject({ code: 'REJECTED', appraisal: { verdict: 'rejected' } })
    },
  )

  it('when there is no collateral for it', async () => {
    const collateralFor = () => Promise.reject(new Error('none'))
    expect(await refusalOf(connectAttested({ ...to(genuine), collateralFor }))).toBe('COLLATERAL')
    const atOnce = () => {
      throw new Error('not what I read')
    }
    const unread = { ...to(genuine), collateralFor: atOnce }
    expect(await refusalOf(connectAttested(unread))).toBe('COLLATERAL')
    const never = () => new Promise<never>(() => {})
    const attempt = connectAttested({ ...to(genuine), collateralFor: never, timeoutMs: 500 })
    expect(await refusalOf(attempt)).toBe('TIMEOUT')
  })

  it('when its certificate has no evidence, or nobody is there', async () => {
    const plain = await peers.start('no-protocol', platform)
    expect(await refusalOf(connectAttested({ ...to(plain), mode: 'certificate' }))).toBe('EVIDENCE')
    expect(await refusalOf(connectAttested({ ...to(genuine), port: 1 }))).toBe('UNREACHABLE')
  })
})

describe('a client cannot hold the genuine server', () => {
  const tls = () =>
    connect({
      host: '127.0.0.1',
      port: genuine.port,
      rejectUnauthorized: false,
      ALPNProtocols: [FRESH_PROTOCOL],
    })

  const hello = encodeHello({ demandsEvidence: true, nonce: new Uint8Array(32) })
  it.each<[string, Uint8Array]>([
    ['nothing', new Uint8Array()],
    ['half a hello', encodeFrame(hello).subarray(0, 20)],
    ['a hello too long', encodeFrame(Buffer.concat([hello, new Uint8Array(1)]))],
    ['a hello too short', encodeFrame(hello.subarray(0, 33))],
    [
      'a hello that demands nothing, of one that demands nothing',
      encodeFrame(encodeHello({ demandsEvidence: false, nonce: new Uint8Array(32) })),
    ],
    [
      'a hello that demands what nobody knows',
      encodeFrame(Buffer.concat([Uint8Array.of(1, 2), new Uint8Array(32)])),
    ],
    ['a frame of 4 GiB', Uint8Array.of(255, 255, 255, 255)],
  ])('by sending %s', async (_, bytes) => {
    const socket = tls()
    socket.on('error', () => {})
    let seen = 0
    socket.on('data', answer => {
      seen += answer.length
    })
    if (bytes.length > 0) socket.write(bytes)
    await once(socket, 'close')
    expect(seen).toBe(0)
  })

  it('by a handshake that it does not end', async () => {
    const socket = connectTcp(genuine.port, '127.0.0.1')
    socket.on('error', () => {}).resume()
    await once(socket, 'close')
    expect(await echo(genuine, 'fresh')).toBe('hello')
  })

  it('by ending the connection as soon as it stands', async () => {
    for (let i = 0; i < 20; i++) {
      const socket = tls()
      socket.on('error', () => {})
      await once(socket, 'secureConnect')
      if (i % 2) socket.write(encodeFrame(hello))
      socket.destroy()
    }
    expect(await echo(genuine, 'fresh')).toBe('hello')
  })

  it('by naming no protocol', async () => {
    const socket = connect({ host: '127.0.0.1', port: genuine.port, rejectUnauthorized: false })
    socket.on('error', () => {}).resume()
    await once(socket, 'close')
    expect(genuine.received.every(bytes => bytes === 'hello'.length)).toBe(true)
  })
})
