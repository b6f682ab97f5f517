import { readFile } from 'node:fs/promises'
import { connect } from 'node:tls'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { tlsNameOf } from '../../protocol/public-key.ts'
import { refused, Scene, World } from '../flow.test.support.ts'

let world: World
const log: string[] = []

beforeAll(async () => {
  world = await World.start({ requestTimeoutMs: 700, logTo: line => log.push(line) })
})

afterAll(async () => {
  await world.stop()
})

/** Sends bytes over TLS and gives all that came back. */
async function exchange(
  chunks: readonly string[],
  options: { readonly maxVersion?: 'TLSv1.2' | 'TLSv1.3'; readonly pauseMs?: number } = {},
): Promise<string> {
  const { kmsId, certificate, url } = world.kms.pin
  const { maxVersion = 'TLSv1.3', pauseMs = 0 } = options
  const port = Number(new URL(url).port)
  const servername = tlsNameOf(kmsId)
  const socket = connect({ host: '127.0.0.1', port, ca: [certificate], servername, maxVersion })
  return await new Promise((resolve, reject) => {
    let seen = ''
    socket.setEncoding('utf8')
    socket.on('data', (text: string) => {
      seen += text
    })
    socket.once('error', reject)
    socket.once('close', () => resolve(seen))
    socket.once('secureConnect', async () => {
      for (const chunk of chunks) {
        if (!socket.writable) return
        socket.write(chunk)
        await new Promise(next => setTimeout(next, pauseMs))
      }
    })
  })
}

const post = (path: string, body: string, headers = 'content-type: application/json') =>
  `POST ${path} HTTP/1.1\r\nhost: kms\r\nconnection: close\r\n${headers}\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`

async function answered(request: string) {
  const text = await exchange([request])
  const [head = '', body = ''] = text.split('\r\n\r\n')
  const answer: { code?: string; message?: string; reasons?: unknown } = JSON.parse(body)
  return { status: Number(head.split(' ')[1]), head, answer }
}

describe('the HTTPS server', () => {
  it.each([
    ['no JSON', post('/v1/challenge', '{'), 400, 'MALFORMED'],
    ['no object', post('/v1/challenge', '[]'), 400, 'MALFORMED'],
    ['an unknown member', post('/v1/challenge', '{"extra":1}'), 400, 'MALFORMED'],
    ['a prototype', post('/v1/challenge', '{"__proto__":{}}'), 400, 'MALFORMED'],
    ['an empty body', post('/v1/challenge', ''), 400, 'MALFORMED'],
    ['another content type', post('/v1/challenge', '{}', 'content-type: text/x'), 400, 'MALFORMED'],
    ['no such route', post('/v1/nothing', '{}'), 404, 'NOT_FOUND'],
    [
      'no such method',
      'PUT /v1/kms HTTP/1.1\r\nhost: k\r\nconnection: close\r\n\r\n',
      404,
      'NOT_FOUND',
    ],
    ['no HTTP', 'hello\r\n\r\n', 400, 'MALFORMED'],
    ['an id that is none', post('/v1/keys/..%2f..%2f/disable', '{}'), 400, 'MALFORMED'],
    ['no signed message', post('/v1/release', '{"jws":"a.b.c"}'), 400, 'MALFORMED'],
    ['a large body', post('/v1/enrol', `"${'a'.repeat(2 << 20)}"`), 413, 'TOO_LARGE'],
  ])('refuses %s in its one envelope', async (_what, request, status, code) => {
    const seen = await answered(request)
    expect([seen.status, seen.answer.code]).toEqual([status, code])
    expect(Object.keys(seen.answer).sort()).toEqual(['code', 'message', 'reasons'])
  })

  it('gives up on a body that comes slowly', async () => {
    const [head = ''] = post('/v1/challenge', ' '.repeat(1000)).split('\r\n\r\n')
    const drops = Array.from({ length: 40 }, () => ' ')
    const started = Date.now()
    const text = await exchange([`${head}\r\n\r\n`, ...drops], { pauseMs: 100 })
    expect(text).toContain('408')
    expect(text).toContain('"TIMEOUT"')
    expect(Date.now() - started).toBeLessThan(3500)
  })

  it('speaks TLS 1.3 only', async () => {
    await expect(exchange([], { maxVersion: 'TLSv1.2' })).rejects.toThrow()
  })

  it('forbids answers to be kept', async () => {
    const { head } = await answered(post('/v1/challenge', '{}'))
    expect(head.toLowerCase()).toContain('cache-control: no-store')
  })

  it('logs each request and refusal, and no secret', async () => {
    const token = await readFile(`${world.folder}/kms/enrolment-token`, 'utf8')
    const { credential } = await world.client().enrol(token)
    const scene = await Scene.make(world, world.client(credential))
    const session = await scene.attest()
    await session.release(scene.parts())
    await scene.owner.disableKey(scene.keyId)
    await refused(session.release(scene.parts()), 'RELEASE_DENIED')
    await refused(world.client(`${'0'.repeat(32)}.${'B'.repeat(43)}`).listKeys(), 'UNAUTHENTICATED')
    const events = log.map(line => JSON.parse(line))
    expect(events).toContainEqual(
      expect.objectContaining({ event: 'request', route: '/v1/release', status: 200 }),
    )
    expect(events).toContainEqual(
      expect.objectContaining({
        event: 'refused',
        route: '/v1/release',
        code: 'RELEASE_DENIED',
        reasons: ['KEY_DISABLED', 'KEY_DISABLED'],
      }),
    )
    const all = log.join('\n')
    const dek = Buffer.from(scene.part.dek.exposeBytes())
    const secrets = [token, credential, session.evidence.token, 'B'.repeat(43)]
    for (const secret of [...secrets, dek.toString('base64url'), dek.toString('hex')]) {
      expect(all).not.toContain(secret)
    }
  })
})
