/** What a newcomer waits for: the demo from command to last line, and the installation. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { milliseconds } from './measure.mjs'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const MAIN = join(ROOT, 'packages/cli/dist/main.js')
const SMALL = 1000

export async function run() {
  const folder = mkdtempSync(join(tmpdir(), 'cloister-bench-'))
  try {
    return [await demo(folder), await install(folder)]
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function demo(folder) {
  const timed = rows =>
    milliseconds(() => {
      const argv = [MAIN, 'demo', '--folder', join(folder, `demo-${rows}`), '--rows', String(rows)]
      execFileSync(process.execPath, argv, { stdio: 'ignore' })
    })
  const small = await timed(SMALL)
  const whole = await timed(1_000_000)
  return {
    name: '`cloister demo`, a million people and three million flights, six attacks',
    ratio: whole / small,
    wanted: 'reported',
    measured: seconds(whole),
    baseline: `\`cloister demo --rows ${SMALL}\`, ${seconds(small)}`,
  }
}

/** Into an empty folder with an empty cache, then again with the cache filled. */
async function install(folder) {
  const clone = join(folder, 'clone')
  execFileSync('git', ['clone', '--quiet', ROOT, clone])
  const timed = () =>
    milliseconds(() => {
      execFileSync('npm', ['ci', '--no-progress', '--cache', join(folder, 'cache')], {
        cwd: clone,
        stdio: 'ignore',
      })
    })
  const empty = await timed()
  const filled = await timed()
  return {
    name: '`npm ci` from an empty cache',
    ratio: empty / filled,
    wanted: 'reported',
    measured: seconds(empty),
    baseline: `the same with the cache filled, ${seconds(filled)}`,
  }
}

function seconds(milliseconds) {
  return `${(milliseconds / 1000).toFixed(1)} s`
}
