import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { InstanceError } from '../instance/failure.ts'

const PATIENCE_MS = 10_000
const PAUSE_MS = 5

/**
 * Ends every process of the instance but this one, and waits until none is left that could do
 * anything: what the program left running is to write nothing more. Outside a sandbox, where this is
 * not the first process, it ends nothing.
 * @throws InstanceError PROGRAM when some cannot be ended
 */
export async function endRemainingProcesses(): Promise<void> {
  if (process.pid !== 1) return
  const deadline = performance.now() + PATIENCE_MS
  for (;;) {
    killAll()
    const remaining = running()
    if (remaining.length === 0) return
    if (performance.now() > deadline) {
      throw new InstanceError('PROGRAM', `${remaining.length} processes of the program do not end`)
    }
    await sleep(PAUSE_MS)
  }
}

function killAll(): void {
  try {
    process.kill(-1, 'SIGKILL')
  } catch {
    // There is none.
  }
}

/** Other processes that are not dead: dead ones stay in the list until somebody asks how they ended. */
function running(): readonly string[] {
  return readdirSync('/proc').filter(name => {
    if (!/^\d+$/.test(name) || name === `${process.pid}`) return false
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'latin1')
      // After the name, which may hold anything.
      const state = stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3)
      return state !== 'Z' && state !== 'X'
    } catch {
      return false
    }
  })
}
