import { spawnSync } from 'node:child_process'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import {
  AT,
  FMSPC,
  killed,
  newFolder,
  PLATFORM,
  PPID,
  pckQuery,
  registration,
  SGX,
  serve,
  startPcs,
  startProcess,
  TDX,
  tcbm,
} from './world.test.support.ts'

const SCRIPT = './pccs-process.test.support.js'
const ROUNDS = process.env['SLOW'] === '1' ? 60 : 8

async function setting(mode: 'LAZY' | 'REQ' = 'LAZY') {
  const upstream = await startPcs()
  const dataDir = join(await newFolder(), 'data')
  const { spki, qeVendorId } = PLATFORM.trustRoot
  const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64')
  const root = { spki: base64(spki), qeVendorId: base64(qeVendorId) }
  return { dataDir, options: { dataDir, mode, root, upstream: upstream.url, at: AT.toISOString() } }
}

const PATHS = [
  `${SGX}/tcb?fmspc=${FMSPC}`,
  `${TDX}/tcb?fmspc=${FMSPC}`,
  `${SGX}/qe/identity`,
  `${SGX}/rootcacrl`,
  `${SGX}/pckcrl?ca=platform&encoding=der`,
  `${SGX}/pckcert?${pckQuery(5)}`,
]

const tokenIn = async (dataDir: string, name: string) =>
  (await readFile(join(dataDir, name), 'utf8')).trim()

describe('kill -9', () => {
  it('at any time of a refresh leaves everything readable that was kept', async () => {
    const { dataDir, options } = await setting()
    const first = await startProcess(SCRIPT, options)
    const user = { 'user-token': await tokenIn(dataDir, 'user-token') }
    const json = { 'content-type': 'application/json' }
    const platforms = `${first.url}${SGX}/platforms`
    const body = JSON.stringify(registration())
    const registered = await fetch(platforms, {
      method: 'POST',
      body,
      headers: { ...user, ...json },
    })
    expect(registered.status).toBe(200)
    await killed(first.child)
    const admin = { 'admin-token': await tokenIn(dataDir, 'admin-token') }
    for (let round = 0; round < ROUNDS; round++) {
      const { url, child } = await startProcess(SCRIPT, options)
      const refreshing = (async () => {
        for (;;) {
          await fetch(`${url}${SGX}/refresh`, { headers: admin })
          await fetch(`${url}${SGX}/refresh?type=certs`, { headers: admin })
        }
      })().catch(() => {})
      await sleep(20 + Math.random() * 200)
      await killed(child)
      await refreshing
    }
    const after = await serve({ dataDir, mode: 'OFFLINE' })
    for (const path of PATHS) expect([path, (await after.get(path)).status]).toEqual([path, 200])
    const left = await readdir(join(dataDir, 'documents'))
    expect(left.filter(name => name.endsWith('.tmp'))).toEqual([])
  })
})

describe('a full disk', () => {
  const mount = 'mount -t tmpfs -o size=512k tmpfs "$1" && shift && exec "$@"'
  const canMount =
    spawnSync('unshare', ['-m', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt']).status === 0

  it.skipIf(!canMount)(
    'is told, stops no answer, and takes nothing away (skipped where no tmpfs can be mounted)',
    async () => {
      const { dataDir, options } = await setting()
      await mkdir(dataDir, { recursive: true })
      const { url, child, said } = await startProcess(SCRIPT, options, argv => [
        ...['unshare', '-m', 'sh', '-c', mount, 'sh', dataDir, ...argv],
      ])
      const get = async (path: string) => await fetch(url + path)
      expect((await get(`${SGX}/qe/identity`)).status).toBe(200)
      const inside = (path: string) => `/proc/${child.pid}/root${join(dataDir, path)}`
      await writeFile(inside('filling'), Buffer.alloc(1 << 20)).catch(() => {})
      for (const path of PATHS.slice(0, 5))
        expect([path, (await get(path)).status]).toEqual([path, 200])
      const found = await get(`${SGX}/pckcert?${pckQuery(5, { encrypted_ppid: PPID })}`)
      expect([found.status, found.headers.get('sgx-tcbm')]).toEqual([200, tcbm(5)])
      // What has to be on the disk is not promised.
      const headers = {
        'user-token': (await readFile(inside('user-token'), 'utf8')).trim(),
        'content-type': 'application/json',
      }
      const body = JSON.stringify(registration())
      const refused = await fetch(`${url}${SGX}/platforms`, { method: 'POST', body, headers })
      expect(refused.status).toBe(503)
      expect(said.join('')).toContain('store-failed')
      const kept = await readdir(inside('documents'))
      expect(kept).toContain('identity-qe-standard.document')
      expect(kept.filter(name => name.endsWith('.tmp'))).toEqual([])
      expect((await get('/health/live')).status).toBe(200)
    },
  )
})

it('files that were altered are not believed, and fetched anew', async () => {
  const upstream = await startPcs()
  const first = await serve({ upstreams: [upstream.pcs] })
  const { dataDir } = first
  for (const path of PATHS.slice(0, 5)) await first.get(path)
  await first.close()
  const folder = join(dataDir, 'documents')
  for (const name of await readdir(folder)) {
    const bytes = await readFile(join(folder, name))
    bytes[bytes.length - 40] = (bytes[bytes.length - 40] ?? 0) ^ 1
    await writeFile(join(folder, name), bytes)
  }
  const offline = await serve({ dataDir, mode: 'OFFLINE' })
  for (const path of PATHS.slice(0, 5)) expect((await offline.get(path)).status).toBe(404)
  const lazy = await serve({ dataDir, upstreams: [upstream.pcs] })
  for (const path of PATHS.slice(0, 5)) expect((await lazy.get(path)).status).toBe(200)
})
