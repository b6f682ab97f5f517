import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { describe, expect, it } from 'vitest'
import { consume, openStore } from './index.ts'
import { temporaryFolder, testRoot } from './temporary-store.test.fixture.ts'

const ROUNDS = process.env['SLOW'] === '1' ? 50 : 5
const STRACE = 'strace'
const at = new Date('2026-01-01T00:00:00Z')

const moduleUrl = (path: string) => new URL(path, import.meta.url).href

/** Writes for ever, and says after each write which it was. */
const CHILD = `
  import { writeSync } from 'node:fs'
  const { openStore, consume } = await import('${moduleUrl('./index.js')}')
  const { RootKey } = await import('${moduleUrl('../root/index.js')}')
  const [path, first, count, together] = process.argv.slice(1)
  const store = await openStore({ path, root: RootKey.from(new Uint8Array(32).fill(7)) })
  const expiresAt = new Date('2026-01-01T00:00:00Z')
  let n = Number(first)
  const end = n + Number(count)
  const write = async () => {
    while (n < end) {
      const id = String(n++)
      await store.write(tx => consume(tx, { kind: 'token', id, expiresAt }))
      writeSync(1, 'ACK ' + id + '\\n')
    }
  }
  await Promise.all(Array.from({ length: Number(together) }, write))
  await store.close()
`
const childArguments = (path: string, first: number, count: number, together = 1) => [
  '--input-type=module',
  '-e',
  CHILD,
  path,
  String(first),
  String(count),
  String(together),
]

describe('an acknowledged write', () => {
  it.each([1, 16])(
    `survives kill -9 at a random moment (${ROUNDS} times), %i at a time`,
    { timeout: 600_000 },
    async together => {
      const path = join(await temporaryFolder(), 'kms.db')
      const acknowledged: number[] = []
      for (let round = 0; round < ROUNDS; round++) {
        const first = round * 1_000_000
        const child = spawn(process.execPath, childArguments(path, first, 1_000_000, together), {
          stdio: ['ignore', 'pipe', 'inherit'],
        })
        const exited = once(child, 'exit')
        let isDoomed = false
        for await (const line of createInterface({ input: child.stdout })) {
          acknowledged.push(Number(line.slice('ACK '.length)))
          if (!isDoomed) setTimeout(() => child.kill('SIGKILL'), Math.random() * 200)
          isDoomed = true
        }
        expect((await exited)[1]).toBe('SIGKILL')
        const store = await openStore({ path, root: testRoot() })
        try {
          await store.write(async tx => {
            for (const n of acknowledged) {
              const use = { kind: 'token', id: String(n), expiresAt: at } as const
              expect(await consume(tx, use), `write ${n}`).toBe(false)
            }
          })
        } finally {
          await store.close()
        }
      }
      expect(acknowledged.length).toBeGreaterThanOrEqual(ROUNDS)
    },
  )

  const canTrace = spawnSync(STRACE, ['-o', '/dev/null', 'true']).status === 0
  const title = canTrace ? '' : ' (skipped: strace is not usable here)'
  it.skipIf(!canTrace)(`comes after a sync of the disk${title}`, async () => {
    const folder = await temporaryFolder()
    const [path, trace] = [join(folder, 'kms.db'), join(folder, 'trace')]
    const calls = 'trace=fsync,fdatasync,write'
    const options = ['-f', '-e', calls, '-o', trace, process.execPath]
    const child = spawnSync(STRACE, [...options, ...childArguments(path, 0, 10)])
    expect(child.status).toBe(0)
    let synced = false
    let acknowledgements = 0
    for (const line of (await readFile(trace, 'utf8')).split('\n')) {
      if (/f(data)?sync\b.*= 0$/.test(line)) synced = true
      if (!/write\(1, "ACK \d+/.test(line)) continue
      expect(synced, line).toBe(true)
      synced = false
      acknowledgements++
    }
    expect(acknowledgements).toBe(10)
  })
})
