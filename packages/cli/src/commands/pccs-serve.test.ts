import { type ChildProcess, spawn } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { createSimPlatform, exportSimPlatform } from '@cloister/attestation'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { cloisterAt, MAIN } from '../cloister.test.support.ts'
import { EXIT } from '../output/exit-codes.ts'
import { startPcs } from './simulated-pcs.test.support.ts'

const platform = createSimPlatform({ createdAt: new Date(Date.now() - 60_000) })
const at = new Date(Date.now() - 30_000)

let folder: string
let pcs: Awaited<ReturnType<typeof startPcs>>
const children: ChildProcess[] = []

/** Runs the command line with a home of its own: the connected side's, or the closed side's. */
const cloister = (home: string, ...argv: readonly string[]) =>
  cloisterAt({ home, cwd: folder }, ...argv)

interface Served {
  readonly url: string
  readonly certificate?: string
  readonly child: ChildProcess
}

async function serving(home: string, ...argv: readonly string[]): Promise<Served> {
  const flags = ['pccs', 'serve', '--port', '0', '--allow-simulated-platform', ...argv]
  const child = spawn(process.execPath, [MAIN, '--home', home, '--json', ...flags], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  children.push(child)
  let errors = ''
  child.stderr.on('data', (chunk: Buffer) => {
    errors += chunk.toString()
  })
  let said = ''
  for await (const line of createInterface({ input: child.stdout })) {
    said += line
    if (line === '}') return { ...JSON.parse(said), child }
  }
  throw new Error(errors)
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cloister-pccs-serve-'))
  pcs = await startPcs(platform, at, 'a key of ours')
  await writeFile(join(folder, 'pcs.key'), 'a key of ours\n', { mode: 0o600 })
  for (const home of ['open', 'closed', 'lazy']) {
    await mkdir(join(folder, home))
    const stored = join(folder, home, 'sim-platform.json')
    await writeFile(stored, exportSimPlatform(platform), { mode: 0o600 })
  }
  const quote = platform.quote({
    ...{ mrEnclave: new Uint8Array(32), mrSigner: new Uint8Array(32), isvProdId: 0, isvSvn: 0 },
    ...{ debug: false, reportData: new Uint8Array(64) },
  })
  await writeFile(join(folder, 'quote.bin'), quote)
  const row = ['ab'.repeat(384), '0000', '05'.repeat(16), '0d00', 'c0'.repeat(16)]
  await writeFile(join(folder, 'pckid_retrieval.csv'), `${row.join(',')}\n`)
})

afterAll(async () => {
  for (const child of children) child.kill('SIGKILL')
  pcs.close()
  await rm(folder, { recursive: true, force: true })
})

const SIM = '--allow-simulated-platform'
const from = () => ['--from', `pcs:${pcs.url},${pcs.url}/IntelSGXRootCA.der`]
const stopped = async ({ child }: Served) => {
  const gone = new Promise<number | null>(resolve => child.once('exit', resolve))
  child.kill('SIGTERM')
  expect(await gone).toBe(0)
}

describe('cloister pccs serve', () => {
  it('serves over TLS what it fetched, to our client and to administrators', async () => {
    const key = ['--api-key-file', 'pcs.key']
    const service = await serving('lazy', ...from(), ...key)
    expect(service.url).toMatch(/^https:/)
    const ca = ['--upstream-ca', service.certificate ?? '']
    const got = await cloister(
      ...(['lazy', 'pccs', 'get', 'quote.bin', '--out', 'collateral.json', SIM] as const),
      ...['--from', service.url, ...ca],
    )
    expect([got.code, got.stderr]).toEqual([0, ''])
    const collateral = ['--collateral', 'collateral.json', SIM]
    const verified = await cloister('lazy', 'attest', 'verify', 'quote.bin', ...collateral)
    expect([verified.code, verified.stdout.includes('UpToDate')]).toEqual([0, true])
    const registered = await cloister(
      ...(['lazy', 'pccs', 'register', 'pckid_retrieval.csv', '--url', service.url] as const),
    )
    expect([registered.code, registered.stderr]).toEqual([0, ''])
    const status = await cloister('lazy', 'pccs', 'status', '--url', service.url, '--json')
    expect(JSON.parse(status.stdout)).toMatchObject({ mode: 'LAZY', platforms: 1 })
    const people = await cloister('lazy', 'pccs', 'status', '--url', service.url)
    expect(people.stdout).toContain('LAZY: 1 platforms')
    for (const more of [[], ['--certs']]) {
      const done = await cloister('lazy', 'pccs', 'refresh', '--url', service.url, ...more)
      expect([done.code, done.stderr]).toEqual([0, ''])
    }
    for (const name of ['user-token', 'admin-token', 'tls-key.pem']) {
      const { mode } = await stat(join(folder, 'lazy', 'pccs', name))
      expect([name, mode & 0o777]).toEqual([name, 0o600])
    }
    const busy = await cloister('lazy', 'pccs', 'import', 'quote.bin', '--data', 'lazy/pccs', SIM)
    expect(busy.code).toBe(EXIT.usage)
    await stopped(service)
  }, 120_000)

  it('is refused with the next step, where it would be unsafe or cannot be', async () => {
    const plain = await cloister('lazy', 'pccs', 'serve', '--mode', 'never')
    expect([plain.code, plain.stderr.includes('LAZY, REQ or OFFLINE')]).toEqual([EXIT.usage, true])
    await writeFile(join(folder, 'open.key'), 'readable by all', { mode: 0o644 })
    const shown = await cloister(
      ...(['lazy', 'pccs', 'serve', ...from(), '--api-key-file', 'open.key'] as const),
    )
    expect([shown.code, shown.stderr.includes('chmod 600')]).toEqual([EXIT.storage, true])
    const clear = ['--from', 'pcs:http://pcs.example,http://pcs.example/x']
    const leaked = await cloister('lazy', 'pccs', 'serve', ...clear, '--api-key-file', 'pcs.key')
    expect([leaked.code, leaked.stderr.includes('https:// alone')]).toEqual([EXIT.usage, true])
  })
})

describe('a closed network', () => {
  it('gets everything by two files that are carried', async () => {
    const closed = await serving('closed', '--mode', 'offline')
    const url = ['--url', closed.url]
    const csv = 'pckid_retrieval.csv'
    expect((await cloister('closed', 'pccs', 'register', csv, ...url)).code).toBe(0)
    const listed = await cloister('closed', 'pccs', 'platforms', ...url)
    expect(listed.stdout).toContain('1 in platform_list.json')

    const fetched = await cloister(
      ...(['open', 'pccs', 'fetch', 'platform_list.json', '--out', 'bundle.json', SIM] as const),
      ...[...from(), '--api-key-file', 'pcs.key', '--json'],
    )
    expect([fetched.code, fetched.stderr]).toEqual([0, ''])
    expect(JSON.parse(fetched.stdout)).toMatchObject({ platforms: 1 })

    const imported = await cloister('closed', 'pccs', 'import', 'bundle.json', ...url)
    expect([imported.code, imported.stderr]).toEqual([0, ''])
    const again = await cloister('closed', 'pccs', 'platforms', ...url, '--source', '[]')
    expect(again.stdout).toContain('1 in platform_list.json')
    const exported = await cloister('closed', 'pccs', 'export', ...url, '--out', 'again.json')
    expect(exported.code).toBe(0)
    const inUse = await cloister(
      'closed',
      'pccs',
      'import',
      'again.json',
      '--data',
      'closed/pccs',
      SIM,
    )
    expect([inUse.code, inUse.stderr.includes('IN_USE')]).toEqual([EXIT.storage, true])
    await stopped(closed)

    const unpacked = await cloister('closed', 'pccs', 'unpack', 'again.json', '--out', 'kms', SIM)
    expect([unpacked.code, unpacked.stderr]).toEqual([0, ''])
    const verified = await cloister(
      ...(['closed', 'attest', 'verify', 'quote.bin', '--collateral', 'kms', SIM] as const),
    )
    expect([verified.code, verified.stdout.includes('UpToDate')]).toEqual([0, true])
  }, 180_000)

  it('takes nothing that does not verify, and says why', async () => {
    const bundle = await readFile(join(folder, 'bundle.json'), 'utf8')
    await writeFile(join(folder, 'altered.json'), bundle.replaceAll('UpToDate', 'OutOfDate'))
    const data = ['--data', 'elsewhere', SIM]
    const refused = await cloister('closed', 'pccs', 'import', 'altered.json', ...data)
    expect(refused.code).toBe(EXIT.notAuthentic)
    expect(refused.stderr).toContain('tcb-info-v4-sgx')
    const partial = await cloister('closed', 'pccs', 'import', 'altered.json', ...data, '--partial')
    expect([partial.code, partial.stdout.includes('refused: tcb-info')]).toEqual([0, true])
    // Under Intel's root alone nothing of a simulated platform's is genuine.
    const real = await cloister('closed', 'pccs', 'import', 'bundle.json', '--data', 'real')
    expect(real.code).toBe(EXIT.notAuthentic)
    const none = await cloister('closed', 'pccs', 'import', 'quote.bin', ...data)
    expect([none.code, none.stderr.includes('no bundle')]).toEqual([EXIT.usage, true])
  })
})
