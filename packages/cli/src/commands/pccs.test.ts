import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createSimPlatform, createSimSnpPlatform, exportSimPlatform } from '@cloister/attestation'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { cloisterAt } from '../cloister.test.support.ts'
import { EXIT } from '../output/exit-codes.ts'
import { startPcs } from './simulated-pcs.test.support.ts'

const platform = createSimPlatform({ createdAt: new Date(Date.now() - 60_000) })

let folder: string
let server: Awaited<ReturnType<typeof startPcs>>
let url: string

const cloister = (...argv: readonly string[]) => cloisterAt({ home: 'home', cwd: folder }, ...argv)

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
  server = await startPcs(platform, new Date(Date.now() - 30_000), '')
  url = server.url
})

afterAll(async () => {
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

  it('has nothing for a report of SEV-SNP, and says who has', async () => {
    const milan = createSimSnpPlatform({ createdAt: new Date() })
    await writeFile(join(folder, 'report.bin'), milan.report({}))
    const { code, stderr } = await cloister('pccs', 'get', 'report.bin', '--out', 'x.json')
    expect([code, stderr.includes('SEV-SNP'), stderr.includes('KDS')]).toEqual([2, true, true])
  })

  it('sends no token in the clear, but to this machine', async () => {
    await writeFile(join(folder, 'token'), 'x'.repeat(43), { mode: 0o600 })
    for (const address of ['http://pccs.example:8081', 'ftp://pccs.example', 'pccs.example']) {
      const argv = ['pccs', 'status', '--url', address, '--token-file', 'token']
      const { code, stderr } = await cloister(...argv)
      expect([address, code, stderr.includes('[URL]')]).toEqual([address, EXIT.usage, true])
    }
    const own = ['pccs', 'status', '--url', 'http://127.0.0.1:9', '--token-file', 'token']
    expect((await cloister(...own)).code).toBe(EXIT.unreachable)
  })

  it('refuses a folder and a device in place of a bundle', async () => {
    for (const path of ['.', '/dev/zero']) {
      const { code, stderr } = await cloister('pccs', 'unpack', path, '--out', 'unpacked')
      expect([path, code, stderr.includes('wanted a file')]).toEqual([path, EXIT.usage, true])
    }
  })

  it('says which services there are', async () => {
    const unknown = await get('--from', 'google')
    expect([unknown.code, unknown.stderr.includes('alibaba:REGION')]).toEqual([EXIT.usage, true])
  })
})
