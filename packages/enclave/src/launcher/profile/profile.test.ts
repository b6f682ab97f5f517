import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FilesScene, hasPython, pythonDefinition } from '../files-scene.test.support.ts'
import { findBubblewrap } from '../start.ts'
import { World } from '../world.test.support.ts'
import { memoryOfGroup } from './group-memory.ts'
import { countProcesses } from './processes.ts'
import { advisedResources, type InstanceProfile, profiled } from './profile.ts'

const MIB = 1024 * 1024

describe('what to ask for', () => {
  const profile = (peakMemoryBytes: number, peakThreads: number): InstanceProfile => ({
    ...{ peakMemoryBytes, peakThreads, memoryBy: 'processes', peakProcesses: 1 },
  })

  it('has room above what a run took', () => {
    expect(advisedResources(profile(100 * MIB, 10))).toEqual({ memoryMiB: 128, threads: 16 })
    expect(advisedResources(profile(103 * MIB, 11))).toEqual({ memoryMiB: 192, threads: 20 })
    expect(advisedResources(profile(0, 0))).toEqual({ memoryMiB: 64, threads: 4 })
  })
})

describe('a control group’s memory', () => {
  it('is found by its instance’s name, of either version, without what is kept of files', () => {
    const folder = mkdtempSync(join(tmpdir(), 'cloister-profile-'))
    const own = join(folder, 'cloister-0123456789abcdef')
    mkdirSync(own)
    const mounts = (type: string, options: string) =>
      `31 23 0:28 / ${folder} rw shared:4 - ${type} cgroup ${options}\n`
    const [v1, v2] = [
      ['4:memory:/cloister-0123456789abcdef\n', mounts('cgroup', 'rw,memory')],
      ['0::/cloister-0123456789abcdef\n', mounts('cgroup2', 'rw')],
    ] as const
    expect(memoryOfGroup(1, ...v1)).toBeUndefined()
    writeFileSync(join(own, 'memory.stat'), 'cache 9\nrss 1\ntotal_rss 30\ntotal_shmem 12\n')
    expect(memoryOfGroup(1, ...v1)?.by).toBe('cgroup-v1')
    expect(memoryOfGroup(1, ...v1)?.now()).toBe(42)
    expect(memoryOfGroup(1, ...v2)).toBeUndefined()
    writeFileSync(join(own, 'memory.stat'), 'anon 40\nfile 900\nshmem 3\n')
    expect(memoryOfGroup(1, ...v2)?.by).toBe('cgroup-v2')
    expect(memoryOfGroup(1, ...v2)?.now()).toBe(43)
    // A group that is not an instance's counts others too.
    expect(memoryOfGroup(1, '0::/\n', v2[1])).toBeUndefined()
    for (const service of ['cloister-kms.service', 'cloister-0123456789abcdef/payload']) {
      mkdirSync(join(folder, service))
      writeFileSync(join(folder, service, 'memory.stat'), 'anon 40\nfile 900\nshmem 3\n')
      expect(memoryOfGroup(1, `0::/${service}\n`, v2[1])).toBeUndefined()
    }
    rmSync(folder, { recursive: true })
    expect(memoryOfGroup(1, ...v2)).toBeUndefined()
  })
})

describe('processes', () => {
  it('are counted with all below them, and what has ended is left out', () => {
    const proc = mkdtempSync(join(tmpdir(), 'cloister-proc-'))
    const put = (pid: number, status: string, children: string) => {
      mkdirSync(join(proc, `${pid}/task/${pid}`), { recursive: true })
      writeFileSync(join(proc, `${pid}/status`), status)
      writeFileSync(join(proc, `${pid}/task/${pid}/children`), children)
    }
    put(10, 'Name:\tinit\nThreads:\t5\nVmHWM:\t  2048 kB\nRssFile:\t1024 kB\n', '11 12 13 ')
    put(11, 'Name:\tprogram\nThreads:\t3\nVmHWM:\t  1024 kB\nRssFile:\t1024 kB\n', '')
    put(12, 'Name:\tzombie\nThreads:\t1\n', '')
    expect(countProcesses(10, proc)).toEqual({
      ...{ processes: 3, threads: 9, residentBytes: 3 * MIB, mappedBytes: 2 * MIB },
    })
    expect(countProcesses(99, proc).processes).toBe(0)
    rmSync(proc, { recursive: true })
  })
})

/** Takes 60 MiB, three more threads and one more process, for long enough to be seen. */
const GREEDY = `
import os, threading, time
data = bytearray(os.urandom(1 << 20)) * 60
for _ in range(3):
    threading.Thread(target=time.sleep, args=(1,)).start()
pid = os.fork()
if pid == 0:
    time.sleep(0.5)
    os._exit(0)
os.waitpid(pid, 0)
open('/data/result/done', 'w').write(str(len(data)))
`

const canRun = findBubblewrap() !== undefined && hasPython

describe.runIf(canRun)('a profiled run', () => {
  let world: World
  beforeAll(async () => {
    world = await World.start({ definition: pythonDefinition() })
  }, 120_000)
  afterAll(() => world.stop())

  it('says what it took, and does not change what it does', async () => {
    const scene = await FilesScene.make(world, [GREEDY])
    const seen: string[] = []
    const { result, profile } = await profiled(
      onEvent => scene.launch({ onEvent }),
      event => seen.push(event.kind),
    )
    expect(result.outcome).toBe('completed')
    expect(seen).toContain('started')
    expect(profile.peakMemoryBytes).toBeGreaterThan(60 * MIB)
    expect(profile.peakMemoryBytes).toBeLessThan(400 * MIB)
    // Init, the program, and the program's own.
    expect(profile.peakProcesses).toBe(3)
    expect(profile.peakThreads).toBeGreaterThanOrEqual(1 + 4 + 1)
    const { limits } = result.isolation
    const by = limits.memory.startsWith('cgroup') ? limits.memory : 'processes'
    expect(profile.memoryBy).toBe(by)
  })
})
