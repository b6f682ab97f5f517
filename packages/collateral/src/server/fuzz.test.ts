import { request } from 'node:http'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { PCCS_STATUS } from './pccs-error.ts'
import {
  FMSPC,
  PPID,
  pckQuery,
  QEID,
  registration,
  type Served,
  SGX,
  serve,
  startPcs,
  TDX,
} from './world.test.support.ts'

const RUNS = process.env['SLOW'] === '1' ? 2000 : 60
const CODED = new Set<number>([200, ...Object.values(PCCS_STATUS)])

const V3 = '/sgx/certification/v3'
/** Every route, by its method. */
const ROUTES: readonly (readonly [string, string])[] = [
  ...[SGX, V3].flatMap(base =>
    ['pckcert', 'pckcerts', 'pckcrl', 'tcb', 'qe/identity', 'qve/identity', 'rootcacrl', 'crl'].map(
      path => ['GET', `${base}/${path}`] as const,
    ),
  ),
  ...['qae/identity', 'fmspcs', 'tcbevaluationdatanumbers'].map(
    path => ['GET', `${SGX}/${path}`] as const,
  ),
  ...['tcb', 'qe/identity', 'tcbevaluationdatanumbers'].map(
    path => ['GET', `${TDX}/${path}`] as const,
  ),
  ['POST', `${SGX}/pckcerts`],
  ['POST', `${SGX}/platforms`],
  ['GET', `${SGX}/platforms`],
  ['PUT', `${SGX}/platformcollateral`],
  ['PUT', `${V3}/platformcollateral`],
  ['POST', `${SGX}/refresh`],
  ['PUT', `${SGX}/appraisalpolicy`],
  ['GET', `${SGX}/appraisalpolicy`],
  ['GET', '/status'],
  ['GET', '/bundle'],
  ['GET', '/health/ready'],
]

const NAMES = [
  ...['qeid', 'encrypted_ppid', 'cpusvn', 'pcesvn', 'pceid', 'ca', 'encoding', 'fmspc', 'update'],
  ...['tcbEvaluationDataNumber', 'uri', 'source', 'type', 'platform', '__proto__', 'constructor'],
]
const VALUES = [
  ...['', '0', '-1', '1e9', '99999999999', 'platform', 'PROCESSOR', 'der', 'EARLY', 'certs', FMSPC],
  ...['[]', `[${FMSPC}]`, 'reg_na', '0000', '0d00', '05'.repeat(16), PPID, 'zz', '%00', '%ff%fe'],
  ...['../../etc/passwd', 'a\r\nb', '💥', 'x'.repeat(4000), 'null', '{}', 'https://127.0.0.1/'],
]

/** What comes far, as it might be asked for in earnest. */
const SOUND: Readonly<Record<string, readonly string[]>> = {
  qeid: [QEID, 'another'],
  encrypted_ppid: [PPID, 'cd'.repeat(384), '00'.repeat(384)],
  cpusvn: ['05'.repeat(16), '00'.repeat(16), 'FF'.repeat(16)],
  pcesvn: ['0d00', '0000', 'ffff'],
  pceid: ['0000', '0001'],
  ca: ['platform', 'processor'],
  encoding: ['der', 'pem'],
  fmspc: [FMSPC, '000000000000', '[]'],
  source: ['reg', 'reg_na', '[]'],
  uri: ['https://certificates.trustedservices.intel.com/IntelSGXRootCA.der'],
}

const sound = fc
  .record(
    Object.fromEntries(
      Object.entries(SOUND).map(([name, values]) => [name, fc.constantFrom(...values)]),
    ),
  )
  .map(values => new URLSearchParams(values).toString())

const unsound = fc
  .array(
    fc.tuple(
      fc.oneof(fc.constantFrom(...NAMES), fc.string({ maxLength: 8 })),
      fc.oneof(fc.constantFrom(...VALUES), fc.string({ unit: 'binary', maxLength: 40 })),
    ),
    { maxLength: 6 },
  )
  .map(pairs => pairs.map(([name, value]) => `${escaped(name)}=${escaped(value)}`).join('&'))

const query = fc.oneof(
  sound,
  unsound,
  fc.tuple(sound, unsound).map(([one, more]) => `${more}&${one}`),
)

const body = fc.oneof(
  fc.constantFrom('', '{', 'null', '[]', '0', '"x"', '{"__proto__":{}}', '{"platforms":[{}]}'),
  fc.json(),
  fc.string({ unit: 'binary', maxLength: 200 }),
  fc.jsonValue().map(value => JSON.stringify({ ...registration(), platform_manifest: value })),
  fc.jsonValue().map(value => JSON.stringify({ platforms: [], collaterals: value })),
  fc.jsonValue().map(value =>
    JSON.stringify({
      platforms: [],
      collaterals: { tcbinfos: [], pck_certs: [], certificates: {}, qeidentity: value },
      cloister: { version: 1, documents: [{ name: value, body: '', chain: '' }] },
    }),
  ),
  fc
    .jsonValue()
    .map(value =>
      JSON.stringify({ policy: 'e30.e30.x', is_default: true, fmspc: FMSPC, more: value }),
    ),
)

function escaped(part: string): string {
  try {
    return encodeURIComponent(part)
  } catch {
    return '%'
  }
}

function asked(
  pccs: Served,
  method: string,
  path: string,
  payload: string,
  headers: Readonly<Record<string, string>>,
): Promise<{ readonly status: number; readonly body: string }> {
  return new Promise((resolve, reject) => {
    const sent = request(pccs.url + path, { method, headers }, response => {
      text(response).then(said => resolve({ status: response.statusCode ?? 0, body: said }), reject)
    })
    sent.once('error', reject)
    sent.end(payload)
  })
}

describe('any request', () => {
  it('has a coded answer, and never an internal error', async () => {
    const upstream = await startPcs()
    const pccs = await serve({ upstreams: [upstream.pcs] })
    const tokens = { 'user-token': pccs.userToken, 'admin-token': pccs.adminToken }
    const seen = new Set<number>()
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...ROUTES),
        ...([query, body, fc.boolean()] as const),
        async ([method, route], search, payload, isKnown) => {
          const headers = {
            'content-type': 'application/json',
            ...(isKnown ? tokens : { 'user-token': payload.replace(/[^ -~]/g, '') }),
          }
          const sent = method === 'GET' ? '' : payload
          const { status, body: said } = await asked(
            pccs,
            method,
            `${route}?${search}`,
            sent,
            headers,
          )
          seen.add(status)
          expect([route, search, payload, status, CODED.has(status)]).toEqual([
            ...[route, search, payload, status, true],
          ])
          expect(status).not.toBe(PCCS_STATUS.INTERNAL)
          if (status !== 200) expect(JSON.parse(said)).toHaveProperty('code')
        },
      ),
      { numRuns: RUNS * ROUTES.length },
    )
    expect([...seen]).toEqual(expect.arrayContaining([200, 400, 401, 404]))
    expect((await pccs.get(`${SGX}/pckcert?${pckQuery(5, { encrypted_ppid: PPID })}`)).status).toBe(
      200,
    )
    expect(pccs.log.join('\n')).not.toContain(pccs.adminToken)
  }, 300_000)

  it('that is no HTTP is answered, and the service goes on', async () => {
    const pccs = await serve()
    const { port } = new URL(pccs.url)
    const raw = (bytes: string) =>
      new Promise<string>(resolve => {
        const socket = connect(Number(port), '127.0.0.1', () => socket.write(bytes))
        text(socket).then(resolve, () => resolve(''))
        socket.once('error', () => resolve(''))
      })
    const line = `GET ${SGX}/tcb?fmspc=${FMSPC} HTTP/1.1\r\n`
    const broken = [
      'garbage\r\n\r\n',
      `${line}\u0000: x\r\n\r\n`,
      `${line}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n`,
      `${line}Content-Length: -1\r\n\r\n`,
      `${line}X: ${'a'.repeat(100_000)}\r\n\r\n`,
      `GET /${'a'.repeat(100_000)} HTTP/1.1\r\n\r\n`,
    ]
    for (const bytes of broken) expect(await raw(bytes)).toMatch(/^(HTTP\/1\.1 4\d\d |$)/)
    expect((await pccs.get('/health/live')).status).toBe(200)
  })
})
