import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createSimPlatform, exportSimPlatform } from '@cloister/attestation'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { EXIT } from '../output/exit-codes.ts'

const MAIN = fileURLToPath(new URL('../main.js', import.meta.url))
const platform = createSimPlatform({ createdAt: new Date(Date.now() - 60_000) })
const collateral = platform.collateral(new Date(Date.now() - 30_000))

let folder: string
let server: Server
let url: string

function cloister(...argv: readonly string[]) {
  return new Promise<{ code: number; stdout: string; stderr: string }>(resolve => {
    const options = { cwd: folder }
    execFile(process.execPath, [MAIN, '--home', 'home', ...argv], options, (error, out, err) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, stdout: out, stderr: err })
    })
  })
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cloister-pccs-'))
  await mkdir(join(folder, 'home'))
  const stored = join(folder, 'home', 'sim-platform.json')
  await writeFile(stored, exportSimPlatform(platform), { mode: 0o600 })
  const quote = platform.quote({
    ...{ mrEnclave: new Uint8Array(32), mrSigner: new Uint8Array(32), isvProdId: 0, isvSvn: 0 },
    ...{ debug: false, reportData: new Uint8Array(64) },
  })
  await writeFile(join(folder, 'quote.bin'), quote)
  const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
  const signed = (name: string, text: string, signature: Uint8Array) =>
    `{"${name}":${text},"signature":"${hex(signature)}"}`
  // Answers as a PCCS does: https://download.01.org/intel-sgx/sgx-dcap, PCCS API
  server = createServer((request, response) => {
    const path = request.url ?? ''
    const chain = (name: string, pem: string) => response.setHeader(name, encodeURIComponent(pem))
    if (path.includes('/tcb')) {
      chain('TCB-Info-Issuer-Chain', collateral.tcbInfoIssuerChain)
      response.end(signed('tcbInfo', collateral.tcbInfo, collateral.tcbInfoSignature))
    } else if (path.includes('/qe/identity')) {
      chain('SGX-Enclave-Identity-Issuer-Chain', collateral.qeIdentityIssuerChain)
      const { qeIdentity, qeIdentitySignature } = collateral
      response.end(signed('enclaveIdentity', qeIdentity, qeIdentitySignature))
    } else if (path.includes('/pckcrl')) {
      chain('SGX-PCK-CRL-Issuer-Chain', collateral.pckCrlIssuerChain)
      response.end(Buffer.from(collateral.pckCrl))
    } else {
      response.end(hex(collateral.rootCaCrl))
    }
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})

afterAll(async () => {
  server.closeAllConnections()
  server.close()
  await rm(folder, { recursive: true, force: true })
})

describe('cloister pccs get', () => {
  const get = (...more: readonly string[]) =>
    cloister('pccs', 'get', 'quote.bin', '--out', 'collateral.json', ...more)

  it('writes collateral that verifies the quote', async () => {
    const dead = ['--from', 'http://127.0.0.1:9']
    const got = await get(...dead, '--from', url, '--allow-simulated-platform', '--json')
    expect(JSON.parse(got.stdout)).toMatchObject({ tee: 'sgx', ca: 'platform' })
    const verified = await cloister(
      ...['attest', 'verify', 'quote.bin', '--collateral', 'collateral.json'],
      '--allow-simulated-platform',
    )
    expect([verified.code, verified.stdout.includes('UpToDate')]).toEqual([0, true])
  })

  it('writes nothing that does not verify', async () => {
    await rm(join(folder, 'collateral.json'), { force: true })
    const refused = await get('--from', url)
    expect(refused.code).toBe(EXIT.unreachable)
    expect(refused.stderr).toContain('no pinned root')
    await expect(readFile(join(folder, 'collateral.json'))).rejects.toThrow('ENOENT')
  })

  it('says which services there are', async () => {
    const unknown = await get('--from', 'google')
    expect([unknown.code, unknown.stderr.includes('alibaba:REGION')]).toEqual([EXIT.usage, true])
  })
})
