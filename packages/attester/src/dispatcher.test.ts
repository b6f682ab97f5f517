import { createServer as createHttpServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { INTEL_ROOT, readAppraisalPolicy, type TrustedAppraisal } from '@cloister/attestation'
import { fetch as undiciFetch } from 'undici'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { issueTlsCredentials } from './certificate/credentials.ts'
import { attestedDispatcher } from './dispatcher.ts'
import { createAttestedServer } from './tls/server.ts'
import { AT, simWorld } from './world.test.support.ts'

const { source, requirements } = simWorld()
const OPTIONS = { commonName: 'http', notBefore: AT, validForDays: 1 }
let quotes = 0
const counting = {
  quote: (reportData: Uint8Array) => {
    quotes += 1
    return source.quote(reportData)
  },
}
let requests = 0
let connections = 0
const http = createHttpServer((_, response) => {
  requests += 1
  response.end('from the enclave')
})
let server: ReturnType<typeof createAttestedServer>
let origin: string

beforeAll(async () => {
  const credentials = await issueTlsCredentials(OPTIONS)
  server = createAttestedServer({ credentials, source: counting, clients: 'anyone' }, socket => {
    connections += 1
    http.emit('connection', socket)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  origin = `https://127.0.0.1:${port}`
})
afterAll(() => {
  server.close()
  http.closeAllConnections()
})

describe('a dispatcher', () => {
  it('sends requests over connections that were appraised, each of them once', async () => {
    const dispatcher = attestedDispatcher(requirements)
    const before = { quotes, connections }
    for (let i = 0; i < 20; i++) {
      const response = await undiciFetch(`${origin}/${i}`, { dispatcher })
      expect(await response.text()).toBe('from the enclave')
    }
    expect(quotes - before.quotes).toBe(connections - before.connections)
    expect(quotes - before.quotes).toBeLessThan(5)
    await dispatcher.close()
  })

  it('makes a connection anew when what it was appraised with has ended', async () => {
    const DAY = 24 * 60 * 60 * 1000
    const end = new Date(AT.getTime() + 30 * DAY)
    const now = () => new Date(end.getTime() - 3000)
    const dispatcher = attestedDispatcher({ ...requirements, now })
    const asked = async () => await (await undiciFetch(origin, { dispatcher })).text()
    for (let i = 0; i < 5; i++) await asked()
    const pooled = quotes
    await asked()
    expect(quotes).toBe(pooled)
    await new Promise(resolve => setTimeout(resolve, 3300))
    await asked()
    expect(quotes).toBeGreaterThan(pooled)
    await dispatcher.close()
  })

  it('takes collateral past its end for as long as the policy grants', async () => {
    const DAY = 24 * 60 * 60 * 1000
    const late = () => new Date(AT.getTime() + 31 * DAY)
    const grants = (collateralGraceDays: number) =>
      readAppraisalPolicy({
        ...requirements.policy,
        platform: { tcbStatuses: ['UpToDate'], collateralGraceDays },
      })
    for (const [days, code] of [
      [0, 'EVIDENCE'],
      [2, 'none'],
    ] as const) {
      const options = { ...requirements, policy: grants(days), now: late }
      const dispatcher = attestedDispatcher(options)
      const seen = await undiciFetch(origin, { dispatcher }).then(
        () => 'none',
        (error: { cause: { code: string } }) => error.cause.code,
      )
      expect([days, seen]).toEqual([days, code])
      await dispatcher.destroy()
    }
  })

  it('serves the fetch of Node', async () => {
    const dispatcher = attestedDispatcher(requirements)
    const init: object = { dispatcher }
    const response = await fetch(origin, init)
    expect(await response.text()).toBe('from the enclave')
    await dispatcher.close()
  })

  it('proves itself to a server that demands it, which knows whose each request is', async () => {
    const seen = new WeakMap<object, TrustedAppraisal>()
    const demanding = createHttpServer((request, response) => {
      response.end(seen.get(request.socket)?.verdict)
    })
    const credentials = await issueTlsCredentials(OPTIONS)
    const mutual = createAttestedServer(
      { credentials, source: counting, clients: requirements },
      (socket, appraisal) => {
        seen.set(socket, appraisal)
        demanding.emit('connection', socket)
      },
    )
    await new Promise<void>(resolve => mutual.listen(0, '127.0.0.1', resolve))
    const { port } = mutual.address() as AddressInfo
    const dispatcher = attestedDispatcher({ ...requirements, source })
    const response = await undiciFetch(`https://127.0.0.1:${port}/`, { dispatcher })
    expect(await response.text()).toBe('trusted')
    const without = attestedDispatcher(requirements)
    const refused = undiciFetch(`https://127.0.0.1:${port}/`, { dispatcher: without })
    await expect(refused).rejects.toMatchObject({ cause: { code: 'OWN_EVIDENCE' } })
    await Promise.all([dispatcher.close(), without.destroy()])
    mutual.close()
    demanding.closeAllConnections()
  })

  it('sends nothing to a server that is not believed', async () => {
    const dispatcher = attestedDispatcher({ ...requirements, roots: [INTEL_ROOT] })
    const before = requests
    const error: unknown = await undiciFetch(origin, {
      dispatcher,
      method: 'POST',
      body: 'x',
    }).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ cause: { name: 'AttestedTlsError', code: 'EVIDENCE' } })
    expect(requests).toBe(before)
    await dispatcher.destroy()
  })

  it('refuses an origin without TLS', async () => {
    const dispatcher = attestedDispatcher(requirements)
    const attempt = undiciFetch(origin.replace('https', 'http'), { dispatcher })
    await expect(attempt).rejects.toMatchObject({ cause: { code: 'TLS' } })
    await dispatcher.destroy()
  })
})
