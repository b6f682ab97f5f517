import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { InstanceGroup, ownPlaces } from './group.ts'
import { type GroupPlace, groupPlaces } from './places.ts'

const V1 = `35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
`
const V2 = '31 23 0:28 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n'

describe('places for control groups', () => {
  it('are in version 2 this process’s group and those around it', () => {
    const places = groupPlaces('0::/user.slice/user-1000.slice/app.slice\n', V2)
    expect(places).toEqual([
      {
        version: 2,
        controllers: [],
        folders: [
          '/sys/fs/cgroup/user.slice/user-1000.slice/app.slice',
          '/sys/fs/cgroup/user.slice/user-1000.slice',
          '/sys/fs/cgroup/user.slice',
          '/sys/fs/cgroup',
        ],
      },
    ])
  })

  it('are in version 1 by controller, each in its own hierarchy', () => {
    const places = groupPlaces('8:pids:/\n4:memory:/a/b\n9:name=systemd:/x\n', V1)
    expect(places.slice(0, 2)).toEqual([
      { version: 1, controllers: ['pids'], folders: ['/sys/fs/cgroup/pids'] },
      {
        version: 1,
        controllers: ['memory'],
        folders: ['/sys/fs/cgroup/memory/a/b', '/sys/fs/cgroup/memory/a', '/sys/fs/cgroup/memory'],
      },
    ])
  })

  it('are below where a container has its group mounted', () => {
    const mounted = V2.replace(' / /sys', ' /docker/0a1b /sys')
    const [place] = groupPlaces('0::/docker/0a1b/job\n', mounted)
    expect(place?.folders).toEqual(['/sys/fs/cgroup/job', '/sys/fs/cgroup'])
    const spaced = V2.replace('/sys/fs/cgroup', '/mnt/c\\040groups')
    expect(groupPlaces('0::/\n', spaced)[0]?.folders).toEqual(['/mnt/c groups'])
  })

  it('are none where the kernel says nothing, or nonsense', () => {
    for (const [membership, mounts] of [
      ['', ''],
      ['0::/a\n', V1],
      ['4:memory:/\n', V2],
      ['::::\n\nx\n', V2],
      ['0::/\n', 'cgroup2 - - cgroup2'],
    ] as const) {
      expect(groupPlaces(membership, mounts)).toEqual([])
    }
  })
})

/** This process's groups in the kernel's own hierarchy of version 2, where it may make some. */
const realV2 = ownPlaces().filter(({ version, folders: [own = ''] }) => {
  if (version !== 2) return false
  try {
    accessSync(own, constants.W_OK)
    return process.getuid?.() === 0
  } catch {
    return false
  }
})

describe.runIf(realV2.length > 0)('version 2, on this machine’s own kernel', () => {
  it('has an instance’s limits where the controllers are on, and leaves nothing where they are off', async () => {
    const limits = { memoryBytes: 64 << 20, processes: 32 }
    const name = `cloister-${randomBytes(8).toString('hex')}`
    const made = InstanceGroup.make(name, limits, realV2)
    const expected = made.folders.length > 0 ? 'cgroup-v2' : 'none'
    expect([made.memory, made.processes]).toContain(expected)
    const sleeper = spawn('/bin/sleep', ['60'])
    try {
      made.add(sleeper.pid ?? 0)
      const membership = readFileSync(`/proc/${sleeper.pid}/cgroup`, 'utf8')
      expect(membership.includes(`/${name}\n`)).toBe(made.folders.length > 0)
    } finally {
      sleeper.kill('SIGKILL')
      await once(sleeper, 'close')
      await made.remove()
    }
    const left = realV2.flatMap(({ folders }) => folders.map(folder => join(folder, name)))
    expect(left.filter(path => existsSync(path))).toEqual([])
  })
})

describe('the groups of an instance', () => {
  const limits = { memoryBytes: 200 << 20, processes: 96 }
  let around: string
  const at = (...names: readonly string[]) => join(around, ...names)
  const place = (version: 1 | 2, folder: string): GroupPlace => ({
    version,
    controllers: ['memory', 'pids'],
    folders: [folder, around],
  })

  /** A group as the kernel makes it, with the files of its controllers. */
  function group(folder: string, files: readonly string[]): void {
    mkdirSync(at(folder), { recursive: true })
    for (const file of files) writeFileSync(at(folder, file), '')
  }

  beforeEach(() => {
    around = mkdtempSync(join(tmpdir(), 'cloister-cgroup-'))
  })
  afterEach(() => rmSync(around, { recursive: true, force: true }))

  it('have in version 2 memory without swap, and processes, and count what was used', () => {
    group('own/one', ['memory.max', 'memory.swap.max', 'pids.max', 'cgroup.procs'])
    const made = InstanceGroup.make('one', limits, [place(2, at('own'))])
    expect([made.memory, made.processes]).toEqual(['cgroup-v2', 'cgroup-v2'])
    expect(made.folders).toEqual([at('own/one')])
    const written = ['memory.max', 'memory.swap.max', 'pids.max'].map(file =>
      readFileSync(at('own/one', file), 'utf8'),
    )
    expect(written).toEqual([`${200 << 20}`, '0', '96'])
    made.add(4711)
    expect(readFileSync(at('own/one/cgroup.procs'), 'utf8')).toBe('4711')
    writeFileSync(at('own/one/memory.peak'), '1048576\n')
    writeFileSync(at('own/one/pids.peak'), '17\n')
    writeFileSync(at('own/one/memory.events'), 'low 0\noom 1\noom_kill 2\n')
    expect(made.usage()).toEqual({ peakMemoryBytes: 1_048_576, peakProcesses: 17, memoryKills: 2 })
  })

  it('are made further out where a controller is off further in', () => {
    group('own/one', ['cgroup.procs'])
    group('one', ['memory.max', 'pids.max', 'cgroup.procs'])
    const made = InstanceGroup.make('one', limits, [place(2, at('own'))])
    expect([made.memory, made.folders]).toEqual(['cgroup-v2', [at('one')]])
  })

  it('are none, and leave nothing, where there is no cgroup file system', () => {
    mkdirSync(at('own'))
    const made = InstanceGroup.make('one', limits, [place(1, at('own'))])
    expect([made.memory, made.processes, made.folders]).toEqual(['none', 'none', []])
    expect(() => readFileSync(at('own/one'))).toThrow(/ENOENT/)
    expect(made.usage()).toEqual({})
  })
})
