import { spawnSync } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { type Act, expectThere, startActing } from './acts.test.fixture.ts'
import { onEveryDatabase } from './backends.test.fixture.ts'
import { temporaryFolder } from './temporary-store.test.fixture.ts'

const KILLS = process.env['SLOW'] === '1' ? 200 : 20
const STRACE = 'strace'

const moduleUrl = (path: string) => new URL(path, import.meta.url).href

onEveryDatabase('what was acknowledged', backend => {
  it(`survives kill -9 at a random moment of a load, ${KILLS} times`, {
    timeout: 3_600_000,
  }, async () => {
    const { options } = await backend.create()
    const acts: Act[] = []
    for (let kill = 0; kill < KILLS; kill++) {
      const acting = startActing(options, { together: [1, 4, 16][kill % 3] ?? 1 })
      await acting.more(1)
      await new Promise(resolve => setTimeout(resolve, Math.random() * 150))
      await acting.kill()
      acts.push(...acting.acts)
      expect(acting.refusals).toEqual([])
      // All that was acknowledged since the first, whenever it is looked for.
      if (kill % 5 === 4) await expectThere(options, acts)
    }
    const { rows } = await expectThere(options, acts)
    expect(rows).toBeGreaterThanOrEqual(acts.length)
    expect(acts.length).toBeGreaterThanOrEqual(KILLS)
  })
})

/** Writes some, and says after each write which it was. */
const CHILD = `
  import { writeSync } from 'node:fs'
  const { openStore, consume } = await import('${moduleUrl('./index.js')}')
  const { RootKey } = await import('${moduleUrl('../root/index.js')}')
  const [path] = process.argv.slice(1)
  const store = await openStore({ path, root: RootKey.from(new Uint8Array(32).fill(7)) })
  const expiresAt = new Date('2026-01-01T00:00:00Z')
  for (let n = 0; n < 10; n++) {
    await store.write(tx => consume(tx, { kind: 'token', id: String(n), expiresAt }))
    writeSync(1, 'ACK ' + n + '\\n')
  }
  await store.close()
`

describe('an acknowledged write', () => {
  const canTrace = spawnSync(STRACE, ['-o', '/dev/null', 'true']).status === 0
  const title = canTrace ? '' : ' (skipped: strace is not usable here)'
  it.skipIf(!canTrace)(`comes after a sync of the disk${title}`, async () => {
    const folder = await temporaryFolder()
    const [path, trace] = [join(folder, 'kms.db'), join(folder, 'trace')]
    const calls = 'trace=fsync,fdatasync,write'
    const options = ['-f', '-e', calls, '-o', trace, process.execPath]
    const child = spawnSync(STRACE, [...options, '--input-type=module', '-e', CHILD, path])
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
