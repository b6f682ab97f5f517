/**
 * Medians of command lines from start to end, as JSON of milliseconds. A process of its own: a large
 * parent takes longer to fork.
 */
import { execFileSync } from 'node:child_process'
import { median } from './measure.mjs'

const ROUNDS = 21
const commands = JSON.parse(process.argv[2] ?? '[]')
const times = commands.map(() => [])
for (let round = 0; round < ROUNDS; round++) {
  for (const [index, argv] of commands.entries()) {
    const begun = process.hrtime.bigint()
    execFileSync(process.execPath, argv, { stdio: 'pipe' })
    times[index].push(Number(process.hrtime.bigint() - begun) / 1e6)
  }
}
process.stdout.write(JSON.stringify(times.map(median)))
