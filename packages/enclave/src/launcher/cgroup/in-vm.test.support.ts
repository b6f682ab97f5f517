import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { limitsHere } from '../here.ts'
import { memoryOfGroup } from '../profile/group-memory.ts'
import { InstanceGroup } from './group.ts'

/**
 * Runs as the one program of a machine whose control groups are of version 2, and says what came of
 * each trial as a line of JSON.
 */
const MIB = 1024 * 1024
const HOG = 'const held = []; for (;;) held.push(Buffer.alloc(1 << 20, 1))'

async function tried(
  trial: string,
  limits: { readonly memoryBytes: number; readonly processes: number },
  script: string,
): Promise<void> {
  const group = InstanceGroup.make(`cloister-${trial}`, limits)
  // Waits until it is in its group.
  const child = spawn('/bin/busybox', ['sh', '-c', `read go; ${script}`], {
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  group.add(child.pid ?? 0)
  const memory = memoryOfGroup(child.pid ?? 0)
  child.stdin?.end('go\n')
  let peakBytes = 0
  const timer = setInterval(() => {
    peakBytes = Math.max(peakBytes, memory?.now() ?? 0)
  }, 20)
  const [exitCode, signal] = await once(child, 'close')
  clearInterval(timer)
  const usage = group.usage()
  await group.remove()
  const isLeft = group.folders.some(folder => existsSync(folder))
  const by = [group.memory, group.processes, memory?.by]
  console.log(JSON.stringify({ trial, by, exitCode, signal, usage, peakBytes, isLeft }))
}

console.log(JSON.stringify({ trial: 'here', ...(await limitsHere()) }))
await tried('memory', { memoryBytes: 40 * MIB, processes: 16 }, `exec /bin/node -e '${HOG}'`)
const forks = 'for i in 1 2 3 4 5 6 7 8; do sleep 2 & done; wait'
await tried('processes', { memoryBytes: 200 * MIB, processes: 4 }, forks)
const file = 'dd if=/dev/zero of=/tmp/file bs=1M count=30; sleep 1; rm /tmp/file'
await tried('files', { memoryBytes: 200 * MIB, processes: 16 }, file)
