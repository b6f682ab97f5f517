/** A million rows of an exported audit log, verified in a process of its own. */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createWriteStream, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { fileURLToPath } from 'node:url'
import { bytesOf, exporter } from '../packages/kms/dist/client/log-export/export.test.fixture.js'
import { inTurns } from './measure.mjs'

const VERIFY = fileURLToPath(new URL('audit-verify.mjs', import.meta.url))
const ROWS = 1_000_000
const FEW_ROWS = 100_000

export async function run() {
  const folder = mkdtempSync(join(tmpdir(), 'cloister-bench-'))
  try {
    const { linesOf, pin } = await exporter()
    const [many, few] = [join(folder, 'many'), join(folder, 'few')]
    await pipeline(bytesOf(linesOf(ROWS)), createWriteStream(many))
    await pipeline(bytesOf(linesOf(FEW_ROWS)), createWriteStream(few))
    const peaks = { many: 0, few: 0 }
    const verify = async (file, name) => {
      const { milliseconds, peakMiB, verdict } = await verified(file, pin)
      if (verdict !== 'intact') throw new Error(`the log is ${verdict}`)
      peaks[name] = Math.max(peaks[name], peakMiB)
      return milliseconds
    }
    const times = await inTurns(3, {
      ours: () => verify(many, 'many'),
      hashes: async () => bareHashes(),
    })
    await verify(few, 'few')
    return [
      {
        name: `\`cloister audit verify\`, ${ROWS / 1e6}M rows`,
        ratio: times.ours / times.hashes,
        wanted: '< 20 s',
        measured: `${(times.ours / 1000).toFixed(1)} s`,
        baseline: `node:crypto, two SHA-256 a row, ${(times.hashes / 1000).toFixed(1)} s`,
      },
      {
        name: 'peak memory of verifying an audit log',
        ratio: peaks.many / peaks.few,
        wanted: '≤ 1.3',
        measured: `${peaks.many.toFixed(0)} MiB for ${ROWS / 1e6}M rows`,
        baseline: `${peaks.few.toFixed(0)} MiB for ${FEW_ROWS / 1e6}M rows`,
      },
    ]
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function verified(file, pin) {
  const child = spawn(process.execPath, [VERIFY], { stdio: ['pipe', 'pipe', 'inherit'] })
  child.stdin.end(JSON.stringify({ file, pin }))
  return JSON.parse(await text(child.stdout))
}

/** What no verifier can do without: a hash of each row, and of as many inner nodes. */
function bareHashes() {
  const [row, node] = [Buffer.alloc(140), Buffer.alloc(65)]
  for (let index = 0; index < ROWS; index++) {
    createHash('sha256').update(row).digest()
    createHash('sha256').update(node).digest()
  }
}
