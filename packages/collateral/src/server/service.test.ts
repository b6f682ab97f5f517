import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { verifyPckCrl, verifySignedDocument } from '@cloister/attestation'
import { describe, expect, it } from 'vitest'
import { DAY } from '../simulated-pcs.test.support.ts'
import { withApiKey } from '../upstream.ts'
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
  TDX,
  tcbm,
} from './world.test.support.ts'

const chainOf = (response: Response, header: string) =>
  decodeURIComponent(response.headers.get(header) ?? '')
describe('documents', () => {
  it('are relayed byte for byte, with their chains, and fetched once', async () => {
    const upstream = await startPcs()
    const pccs = await serve({ upstreams: [upstream.pcs] })
    const { rootCaCrl } = PLATFORM.collateral(AT)
    const fetched = async (url: string) => new Uint8Array(await (await fetch(url)).arrayBuffer())
    const paths: readonly (readonly [string, string])[] = [
      [`${SGX}/tcb?fmspc=${FMSPC.toUpperCase()}`, 'TCB-Info-Issuer-Chain'],
      [`${SGX}/tcb?fmspc=${FMSPC}&update=early`, 'TCB-Info-Issuer-Chain'],
      [`${TDX}/tcb?fmspc=${FMSPC}`, 'TCB-Info-Issuer-Chain'],
      [`/sgx/certification/v3/tcb?fmspc=${FMSPC}`, 'SGX-TCB-Info-Issuer-Chain'],
      [`${SGX}/qe/identity`, 'SGX-Enclave-Identity-Issuer-Chain'],
      [`${TDX}/qe/identity`, 'SGX-Enclave-Identity-Issuer-Chain'],
      [`${SGX}/qve/identity?update=standard`, 'SGX-Enclave-Identity-Issuer-Chain'],
      [`${SGX}/qae/identity`, 'SGX-Enclave-Identity-Issuer-Chain'],
      [`${SGX}/tcbevaluationdatanumbers`, 'TCB-Evaluation-Data-Numbers-Issuer-Chain'],
      [`${TDX}/tcbevaluationdatanumbers`, 'TCB-Evaluation-Data-Numbers-Issuer-Chain'],
    ]
    for (const [path, header] of paths) {
      const response = await pccs.get(path)
      const sent = await fetch(upstream.url + path)
      expect([path, response.status]).toEqual([path, 200])
      const body = Buffer.from(await response.arrayBuffer()).toString('utf8')
      const original = Buffer.from(await sent.arrayBuffer()).toString('utf8')
      const [member = ''] = Object.keys(JSON.parse(body))
      // Simulated signatures are other ones each time; the signed text is the same.
      expect(body.slice(0, body.indexOf(',"signature"'))).toBe(
        original.slice(0, original.indexOf(',"signature"')),
      )
      const text = body.slice(member.length + 4, body.indexOf(',"signature"'))
      const signature = new Uint8Array(Buffer.from(JSON.parse(body).signature, 'hex'))
      const chain = chainOf(response, header)
      const options = { roots: [PLATFORM.trustRoot], at: AT }
      const given = { text, signature, chain, rootCaCrl }
      expect(() => verifySignedDocument(member as 'tcbInfo', given, options)).not.toThrow()
      const again = await (await pccs.get(path)).text()
      expect(again).toBe(body)
    }
    const list = await pccs.get(`${SGX}/pckcrl?ca=PLATFORM&encoding=der`)
    const crl = new Uint8Array(await list.arrayBuffer())
    const chain = chainOf(list, 'SGX-PCK-CRL-Issuer-Chain')
    const options = { roots: [PLATFORM.trustRoot], at: AT }
    expect(verifyPckCrl({ crl, chain, rootCaCrl }, options).issued).toEqual(AT)
    expect(await (await pccs.get(`${SGX}/pckcrl?ca=platform`)).text()).toMatch(/^30[0-9a-f]+$/)
    expect(await (await pccs.get(`${SGX}/pckcrl?ca=platform&encoding=pem`)).text()).toMatch(
      /^-----BEGIN X509 CRL-----\n/,
    )
    const root = await (await pccs.get(`${SGX}/rootcacrl`)).text()
    expect(root).toMatch(/^30[0-9a-f]+$/)
    const uri = 'https://certificates.trustedservices.intel.com/IntelSGXRootCA.der'
    const byUri = await fetched(`${pccs.url}${SGX}/crl?uri=${encodeURIComponent(uri)}`)
    expect(Buffer.from(byUri).toString('hex')).toBe(root)
    expect(await (await pccs.get(`${SGX}/fmspcs`)).json()).toEqual([
      { fmspc: FMSPC.toUpperCase(), platform: 'E5' },
    ])
  })

  it('of a set by its number are that set, and gone or unknown ones say so', async () => {
    const pccs = await serve({ upstreams: [(await startPcs()).pcs] })
    const numbered = (number: number) =>
      pccs.get(`${SGX}/tcb?fmspc=${FMSPC}&tcbEvaluationDataNumber=${number}`)
    expect(JSON.parse(await (await numbered(2)).text()).tcbInfo.tcbEvaluationDataNumber).toBe(2)
    expect([(await numbered(0)).status, (await numbered(9)).status]).toEqual([410, 404])
  })

  it('serve by grace alone past their end, which the answer says', async () => {
    const upstream = await startPcs()
    const clock = { now: AT }
    const pccs = await serve({
      upstreams: [upstream.pcs],
      ...{ graceDays: 3, now: () => clock.now },
    })
    const path = `${SGX}/qe/identity`
    expect((await pccs.get(path)).headers.get('warning')).toBe(null)
    upstream.close()
    clock.now = new Date(AT.getTime() + 31 * DAY)
    const stale = await pccs.get(path)
    expect([stale.status, stale.headers.get('warning')]).toEqual([200, '110 - "Response is Stale"'])
    clock.now = new Date(AT.getTime() + 34 * DAY)
    expect((await pccs.get(path)).status).toBe(502)
  })
})

describe('PCK certificates', () => {
  it('are chosen for a TCB, and say what they certify', async () => {
    const upstream = await startPcs({ apiKey: 'a key' })
    const pccs = await serve({ upstreams: [withApiKey(upstream.pcs, 'a key')] })
    const ask = (svn: number) =>
      pccs.get(`${SGX}/pckcert?${pckQuery(svn, { encrypted_ppid: PPID })}`)
    const found = await ask(5)
    expect(found.status).toBe(200)
    expect(Object.fromEntries(found.headers)).toMatchObject({
      'sgx-tcbm': tcbm(5),
      'sgx-fmspc': FMSPC.toUpperCase(),
      'sgx-pck-certificate-ca-type': 'platform',
      'content-type': 'application/x-pem-file',
    })
    expect(chainOf(found, 'sgx-pck-certificate-issuer-chain').match(/BEGIN/g)).toHaveLength(2)
    expect(await found.text()).toMatch(/^-----BEGIN CERTIFICATE-----/)
    expect((await ask(6)).headers.get('sgx-tcbm')).toBe(tcbm(6))
    expect((await ask(4)).headers.get('sgx-tcbm')).toBe(tcbm(4))
    expect((await ask(9)).status).toBe(200)
    expect((await ask(3)).status).toBe(404)
    const asked = upstream.asked.filter(url => url.includes('pckcerts'))
    expect(asked).toHaveLength(1)
  })

  it('are not chosen for whoever shows nothing, or another’s QE id', async () => {
    const pccs = await serve({ upstreams: [(await startPcs()).pcs] })
    const status = async (query: string) => (await pccs.get(`${SGX}/pckcert?${query}`)).status
    expect(await status(pckQuery(5))).toBe(400)
    expect(await status(pckQuery(5, { encrypted_ppid: '00'.repeat(384) }))).toBe(404)
    expect(await status(pckQuery(5, { encrypted_ppid: PPID }))).toBe(200)
    expect(await status(pckQuery(5))).toBe(400)
  })

  it('come from a cache that chooses by itself', async () => {
    const upstream = await startPcs({
      change: ({ url = '' }, reply) => (url.includes('pckcerts') ? { status: 404 } : reply),
    })
    const pccs = await serve({ upstreams: [upstream.pccs] })
    const found = await pccs.get(`${SGX}/pckcert?${pckQuery(5, { encrypted_ppid: PPID })}`)
    expect([found.status, found.headers.get('sgx-tcbm')]).toEqual([200, tcbm(5)])
    expect(upstream.asked.some(url => url.includes(`qeid=${QEID.toUpperCase()}`))).toBe(true)
    // It chose one that the platform does not reach.
    const below = await pccs.get(`${SGX}/pckcert?${pckQuery(4, { encrypted_ppid: PPID })}`)
    expect(below.status).toBe(404)
  })

  it('of a platform that registered are kept, whoever chose them; of others they pass', async () => {
    const upstream = await startPcs({
      change: ({ url = '' }, reply) => (url.includes('pckcerts') ? { status: 404 } : reply),
    })
    const pccs = await serve({ upstreams: [upstream.pccs] })
    const kept = async () =>
      (await readdir(join(pccs.dataDir, 'documents'))).filter(name => name.startsWith('pck-cert'))
    await pccs.get(`${SGX}/pckcert?${pckQuery(5, { encrypted_ppid: PPID })}`)
    expect(await kept()).toEqual([])
    const user = { 'user-token': pccs.userToken }
    const registered = await pccs.send('POST', `${SGX}/platforms`, registration(), user)
    expect(registered.status).toBe(200)
    expect(await kept()).toHaveLength(1)
    const admin = { 'admin-token': pccs.adminToken }
    expect((await pccs.get(`${SGX}/refresh?type=certs`, admin)).status).toBe(200)
    const bundle = JSON.parse(await (await pccs.get('/bundle', admin)).text())
    await pccs.close()
    const again = await serve({ dataDir: pccs.dataDir, mode: 'OFFLINE' })
    expect((await again.get(`${SGX}/pckcert?${pckQuery(5)}`)).headers.get('sgx-tcbm')).toBe(tcbm(5))
    const closed = await serve({ mode: 'OFFLINE' })
    const put = { 'admin-token': closed.adminToken }
    expect((await closed.send('PUT', `${SGX}/platformcollateral`, bundle, put)).status).toBe(200)
    const found = await closed.get(`${SGX}/pckcert?${pckQuery(5)}`)
    expect(found.headers.get('sgx-tcbm')).toBe(tcbm(5))
  })

  it('are listed as the vendor lists them, for another cache', async () => {
    const first = await serve({ upstreams: [(await startPcs()).pcs] })
    const list = await first.get(`${SGX}/pckcerts?encrypted_ppid=${PPID}&pceid=0000`)
    const certs: { tcbm: string; cert: string }[] = JSON.parse(await list.text())
    expect(certs.map(({ tcbm: of }) => of.slice(0, 2))).toEqual(['06', '05', '04', '07'])
    expect(certs.at(-1)?.cert).toBe('Not available')
    const upstream = {
      ...(await startPcs()).pcs,
      baseUrl: first.url,
      rootCaCrl: undefined as never,
    }
    const { rootCaCrl: _, ...second } = upstream
    const pccs = await serve({ upstreams: [{ ...second, name: 'first' }] })
    const found = await pccs.get(`${SGX}/pckcert?${pckQuery(5, { encrypted_ppid: PPID })}`)
    expect(found.headers.get('sgx-tcbm')).toBe(tcbm(5))
  })
})

describe('registration', () => {
  const count = async (pccs: Served, source: string) => {
    const headers = { 'admin-token': pccs.adminToken }
    const response = await pccs.get(`${SGX}/platforms?source=${source}`, headers)
    expect(response.status).toBe(200)
    const rows: unknown[] = JSON.parse(await response.text())
    expect(response.headers.get('platform-count')).toBe(String(rows.length))
    return rows
  }
  const register = (pccs: Served, body: object) =>
    pccs.send('POST', `${SGX}/platforms`, body, { 'user-token': pccs.userToken })

  it('wants the token of its kind', async () => {
    const pccs = await serve({ upstreams: [(await startPcs()).pcs] })
    const body = registration()
    const tokens: readonly Readonly<Record<string, string>>[] = [
      {},
      { 'user-token': '' },
      { 'user-token': pccs.adminToken },
      { 'admin-token': pccs.userToken, 'user-token': `${pccs.userToken}x` },
    ]
    for (const headers of tokens) {
      expect((await pccs.send('POST', `${SGX}/platforms`, body, headers)).status).toBe(401)
    }
    for (const path of ['platforms', 'refresh']) {
      expect((await pccs.get(`${SGX}/${path}`)).status).toBe(401)
      const headers = { 'admin-token': pccs.userToken }
      expect((await pccs.get(`${SGX}/${path}`, headers)).status).toBe(401)
    }
    expect((await pccs.send('PUT', `${SGX}/platformcollateral`, {})).status).toBe(401)
    expect((await pccs.send('PUT', `${SGX}/appraisalpolicy`, {})).status).toBe(401)
    expect((await register(pccs, body)).status).toBe(200)
    expect(pccs.log.join()).not.toContain(pccs.userToken)
  })

  it('in REQ mode fetches, and nothing else does', async () => {
    const upstream = await startPcs()
    const pccs = await serve({ mode: 'REQ', upstreams: [upstream.pcs] })
    const pck = () => pccs.get(`${SGX}/pckcert?${pckQuery(5, { encrypted_ppid: PPID })}`)
    expect((await pck()).status).toBe(461)
    expect((await pccs.get(`${SGX}/tcb?fmspc=${FMSPC}`)).status).toBe(404)
    expect(upstream.asked).toEqual([])
    expect((await register(pccs, registration())).status).toBe(200)
    expect((await pck()).status).toBe(200)
    expect((await pccs.get(`${SGX}/tcb?fmspc=${FMSPC}`)).status).toBe(200)
    expect((await pccs.get(`${TDX}/qe/identity`)).status).toBe(200)
    expect(await count(pccs, 'reg')).toEqual([])
    expect(await count(pccs, 'reg_na')).toMatchObject([{ cpu_svn: '07'.repeat(16) }])
    expect(await count(pccs, 'reg_na')).toEqual([])
    expect(await count(pccs, `[${FMSPC}]`)).toMatchObject([{ qe_id: QEID.toUpperCase() }])
    expect(await count(pccs, '[]')).toHaveLength(1)
    expect(await count(pccs, '[00906ED50000]')).toEqual([])
  })

  it('in OFFLINE mode queues, until what was fetched elsewhere comes', async () => {
    const upstream = await startPcs()
    const closed = await serve({ mode: 'OFFLINE' })
    expect((await register(closed, registration())).status).toBe(200)
    expect((await register(closed, registration())).status).toBe(200)
    const rows = await count(closed, 'reg')
    expect(rows).toHaveLength(1)
    expect(await count(closed, 'reg')).toEqual([])
    const open = await serve({ upstreams: [upstream.pcs] })
    for (const row of rows) expect((await register(open, row as object)).status).toBe(200)
    const admin = (pccs: Served) => ({ 'admin-token': pccs.adminToken })
    const bundle = await (await open.get('/bundle', admin(open))).json()
    const put = await closed.send('PUT', `${SGX}/platformcollateral`, bundle, admin(closed))
    expect(await put.json()).toMatchObject({ platforms: 1, refused: [] })
    const found = await closed.get(`${SGX}/pckcert?${pckQuery(6)}`)
    expect([found.status, found.headers.get('sgx-tcbm')]).toEqual([200, tcbm(6)])
    expect((await closed.get(`${SGX}/rootcacrl`)).status).toBe(200)
    expect((await closed.get(`${SGX}/qae/identity`)).status).toBe(200)
    expect((await closed.send('POST', `${SGX}/refresh`, {}, admin(closed))).status).toBe(503)
  })

  it('of a platform with a manifest needs no more', async () => {
    const upstream = await startPcs()
    const pccs = await serve({ mode: 'REQ', upstreams: [upstream.pcs] })
    const manifest = { qe_id: QEID, pce_id: '0000', platform_manifest: '178e874b49e44aa5' }
    expect((await register(pccs, manifest)).status).toBe(200)
    expect((await pccs.get(`${SGX}/pckcert?${pckQuery(5)}`)).status).toBe(200)
    expect((await register(pccs, { ...manifest, platform_manifest: 'xyz' })).status).toBe(400)
    expect((await register(pccs, { qe_id: QEID, pce_id: '0000' })).status).toBe(400)
  })
})

describe('administration', () => {
  const policy = (classId: string) => {
    const inner = JSON.stringify({ policy_array: [{ environment: { class_id: classId } }] })
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
    return `${part({ alg: 'ES384' })}.${part({ policy_payload: inner })}.c2ln`
  }
  const SGX_CLASS = '3123ec35-8d38-4ea5-87a5-d6c48b567570'

  it('keeps appraisal policies, one default for each kind of platform', async () => {
    const pccs = await serve()
    const admin = { 'admin-token': pccs.adminToken }
    const put = (body: object) => pccs.send('PUT', `${SGX}/appraisalpolicy`, body, admin)
    const given = () => pccs.get(`${SGX}/appraisalpolicy?fmspc=${FMSPC}`)
    expect((await given()).status).toBe(404)
    const first = { policy: policy(SGX_CLASS), is_default: true, fmspc: FMSPC }
    expect(await (await put(first)).text()).toMatch(/^[0-9a-f]{96}$/)
    const tdx = policy('f708b97f-0fb2-4e6b-8b03-8a5bcd1221d3')
    await put({ ...first, policy: tdx })
    expect((await (await given()).text()).split(',').sort()).toEqual([first.policy, tdx].sort())
    const second = { ...first, policy: `${policy(SGX_CLASS)}A` }
    await put(second)
    expect((await (await given()).text()).split(',').sort()).toEqual([second.policy, tdx].sort())
    expect((await put({ ...first, policy: 'a.b.c' })).status).toBe(400)
    expect((await put({ ...first, policy: policy('another') })).status).toBe(400)
  })

  it('refreshes, and says how things stand', async () => {
    const upstream = await startPcs()
    const pccs = await serve({ mode: 'REQ', upstreams: [upstream.pcs] })
    const admin = { 'admin-token': pccs.adminToken }
    await pccs.send('POST', `${SGX}/platforms`, registration(), { 'user-token': pccs.userToken })
    upstream.asked.length = 0
    expect((await pccs.get(`${SGX}/refresh`, admin)).status).toBe(200)
    expect(upstream.asked.filter(url => url.includes('/tcb?'))).toHaveLength(4)
    expect(upstream.asked.some(url => url.includes('pckcerts'))).toBe(false)
    const all = await pccs.get(`${SGX}/refresh?type=certs&fmspc=`, admin)
    expect([all.status, upstream.asked.some(url => url.includes('pckcerts'))]).toEqual([200, true])
    expect((await pccs.get(`${SGX}/refresh?type=certs&fmspc=12`, admin)).status).toBe(400)
    const status = JSON.parse(await (await pccs.get('/status', admin)).text())
    expect(status).toMatchObject({ mode: 'REQ', platforms: 1, queued: 1 })
    expect(status.upstreams[0].isHealthy).toBe(true)
    expect(status.answersByStatus).toMatchObject({ 200: expect.any(Number), 400: 1 })
    const document = await pccs.get(`${SGX}/qe/identity`)
    expect([document.status, document.headers.get('request-id')?.length]).toEqual([200, 32])
    const later = JSON.parse(await (await pccs.get('/status', admin)).text())
    expect(later.answersByStatus[200]).toBe(status.answersByStatus[200] + 2)
    expect((await pccs.get('/status')).status).toBe(401)
    expect((await pccs.get('/health/live')).status).toBe(200)
  })

  it('finds everything again after a restart, without any upstream', async () => {
    const first = await serve({ upstreams: [(await startPcs()).pcs] })
    const { dataDir, userToken } = first
    await first.send('POST', `${SGX}/platforms`, registration(), { 'user-token': userToken })
    await first.close()
    const second = await serve({ dataDir, mode: 'OFFLINE' })
    expect(second.userToken).toBe(userToken)
    expect((await second.get(`${SGX}/pckcert?${pckQuery(5)}`)).status).toBe(200)
    expect((await second.get(`${SGX}/tcb?fmspc=${FMSPC}`)).status).toBe(200)
  })
})

it('keeps to plain HTTP on this machine, unless told', async () => {
  await expect(serve({ host: '0.0.0.0' })).rejects.toThrow(TypeError)
})
