import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

/** Seconds that one file of tests may take; Vitest's own limits end no wait that blocks its process. */
const LIMIT = process.env.SLOW === '1' ? 3 * 60 * 60 : 10 * 60

const run = promisify(execFile)

/** Processes of this machine, parents before their children. */
async function processes() {
  const columns = 'pid=,ppid=,etimes=,stat=,wchan:20=,args='
  const { stdout } = await run('ps', ['-eo', columns, '--sort=start_time'])
  return stdout.split('\n').map(line => {
    const [pid, parent, seconds] = line.trim().split(/\s+/).map(Number)
    return { pid, parent, seconds, line: line.slice(0, 400) }
  })
}

function descendantsOf(pid, all) {
  return all
    .filter(({ parent }) => parent === pid)
    .flatMap(child => [child, ...descendantsOf(child.pid, all)])
}

/** Ends each process of a file that takes too long, so that the run ends, and says what it was at. */
async function endStuckFiles(vitest) {
  const all = await processes()
  for (const worker of all) {
    if (worker.parent !== process.pid || worker.seconds < LIMIT) continue
    const unfinished = vitest.state
      .getTestModules()
      .filter(module => ['queued', 'pending'].includes(module.state()))
      .map(module => module.moduleId)
    console.error(
      `A file of tests is ended after ${LIMIT} s. One of these: ${unfinished.join(', ')}`,
    )
    const stuck = [worker, ...descendantsOf(worker.pid, all)]
    for (const { line } of stuck) console.error(line)
    await run('kill', ['-KILL', ...stuck.map(({ pid }) => `${pid}`)])
  }
}

/** Vitest's global setup: watches as long as tests run. */
export default function setup({ vitest }) {
  const timer = setInterval(() => endStuckFiles(vitest).catch(console.error), 20_000)
  return () => clearInterval(timer)
}
