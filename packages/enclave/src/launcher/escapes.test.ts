import { once } from 'node:events'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { createServer } from 'node:http'
import { type AddressInfo, createServer as createNetServer } from 'node:net'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  FilesScene,
  hasPython,
  type Outcome,
  pythonDefinition,
} from './files-scene.test.support.ts'
import { findBubblewrap } from './start.ts'
import { World } from './world.test.support.ts'

const canRun = hasPython && findBubblewrap() !== undefined
const isRoot = process.getuid?.() === 0
const ESCAPE = fileURLToPath(new URL('../../src/launcher/escape.test.support.py', import.meta.url))

let world: World

beforeAll(async () => {
  if (canRun) world = await World.start({ definition: pythonDefinition() })
})

afterAll(async () => {
  await world?.stop()
})

/** Runs a Python program in an instance. */
async function runPython(text: string, ...args: readonly string[]) {
  const scene = await FilesScene.make(world, [text, ...args])
  return { scene, outcome: await scene.launch() }
}

/** Processes in the process id namespace of one, as the host sees them. */
function namespaceOf(pid: number): readonly number[] {
  const wanted = readlinkSync(`/proc/${pid}/ns/pid`)
  return readdirSync('/proc').flatMap(name => {
    try {
      return /^\d+$/.test(name) && readlinkSync(`/proc/${name}/ns/pid`) === wanted
        ? [Number(name)]
        : []
    } catch {
      return []
    }
  })
}

/** User id of a process, as the host sees it. */
function userOf(pid: number): string | undefined {
  return /^Uid:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
}

function isDead(pid: number): boolean {
  try {
    return /^State:\s*[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return true
  }
}

describe.runIf(canRun)('a program that wants out', () => {
  let seen: Record<string, unknown>
  let outcome: Outcome

  beforeAll(async () => {
    const listener = createServer((_request, response) => response.end('reached'))
    listener.listen(0, '127.0.0.1')
    await once(listener, 'listening')
    const { port } = listener.address() as AddressInfo
    const abstract = `cloister-${port}`
    const nameless = createNetServer().listen(`\0${abstract}`)
    await once(nameless, 'listening')
    outcome = (await runPython(readFileSync(ESCAPE, 'utf8'), `${port}`, abstract)).outcome
    listener.close()
    nameless.close()
    expect(outcome.stderr).toBe('')
    expect(outcome).toMatchObject({ outcome: 'completed' })
    seen = JSON.parse(outcome.stdout)
  })

  it('reaches no network: not its host, not another, not by raw packets', () => {
    expect(seen).toMatchObject({
      'host on its loopback': 'ECONNREFUSED',
      'a host elsewhere': 'ENETUNREACH',
      'a host elsewhere, over IPv6': 'ENETUNREACH',
      'a datagram': 'ENETUNREACH',
      'socket of the host without a name in its files': 'ECONNREFUSED',
      'raw packets': 'EAFNOSUPPORT',
      'raw TCP': 'EPERM',
      'raw ICMP': 'EPROTONOSUPPORT',
      "the kernel's audit": 'EPROTONOSUPPORT',
      'virtual machine sockets': 'EAFNOSUPPORT',
      interfaces: ['lo'],
    })
  })

  it('finds none of the host’s files', () => {
    const absent = ['/etc/passwd', '/root', '/home', '/sys', '/boot']
    const devices = ['/dev/mem', '/dev/kmsg', '/dev/sda', '/dev/sgx_enclave']
    for (const path of [...absent, ...devices]) {
      expect(seen[`read ${path}`], path).toBe('ENOENT')
    }
    expect(seen['read /proc/1/root/etc/passwd']).toMatch(/^(EACCES|ENOENT)$/)
  })

  it('changes neither the image nor its inputs', () => {
    for (const what of ['write to the image', 'add to the image', 'add to the root']) {
      expect(seen[what], what).toMatch(/^(EROFS|EACCES)$/)
    }
    if (!isRoot) return
    expect(seen).toMatchObject({
      'alter an input': 'EACCES',
      'add to an input': 'EACCES',
      'remove an input': 'EACCES',
      'make an input writable': 'EPERM',
      'link an input into the output': 'EXDEV',
    })
  })

  it.runIf(isRoot)('gets at nothing of init: memory, environment, descriptors', () => {
    for (const name of ['mem', 'environ', 'maps', 'fd', 'cwd', 'exe', 'task/1/mem']) {
      expect(seen[`init ${name}`], name).toMatch(/^(EACCES|EPERM)$/)
    }
    expect(seen).toMatchObject({
      ...{ 'list sealed inputs': 'EACCES', 'list sealed outputs': 'EACCES' },
      ...{ 'write beside sealed outputs': 'EACCES', 'key service': 'EACCES', 'end init': 'EPERM' },
    })
  })

  it('changes nothing of the kernel: where core dumps go, who is ended when memory is short', () => {
    expect(seen['read /proc/kcore']).toMatch(/^E/)
    const settings = ['sys/kernel/core_pattern', 'sys/vm/overcommit_memory', 'sysrq-trigger']
    for (const file of settings) {
      expect(seen[`open /proc/${file} to write`], file).toMatch(/^(EACCES|ENOENT|EPERM|EROFS)$/)
    }
    for (const folder of ['sys', 'irq', 'bus', 'fs']) {
      expect(seen[`writable below /proc/${folder}`], folder).toEqual([])
    }
    expect(seen['be spared when memory is short']).toBe('EACCES')
    if (isRoot) expect(seen['open /proc/1/oom_score_adj to write']).toBe('EACCES')
  })

  it('traces no process and reads no other’s memory', () => {
    expect(seen).toMatchObject({ ptrace: 'EPERM', process_vm_readv: 'EPERM' })
    if (isRoot) expect(seen['limits of init']).toBe('EPERM')
    // Itself and init: no other instance's process is there.
    expect(seen['processes']).toHaveLength(2)
  })

  it('has no descriptor but its streams, and gets none of another’s: no quote, no status', () => {
    const { descriptors } = seen as { readonly descriptors: Record<string, string> }
    expect(Object.keys(descriptors).sort()).toEqual(['0', '1', '2'])
    expect(descriptors['0']).toBe('/dev/null')
    expect(seen['pidfd_getfd']).toBe('EPERM')
    if (isRoot) expect(seen['quote by init']).toBe('EACCES')
  })

  it('makes no namespace and no mount', () => {
    for (const what of ['unshare', 'clone into a user namespace', 'setns', 'mount', 'umount']) {
      expect(seen[what], what).toBe('EPERM')
    }
    expect(seen).toMatchObject({ fsopen: 'EPERM', clone3: 'ENOSYS', 'change root': 'EPERM' })
  })

  it('calls nothing of the kernel that lets programs out', () => {
    for (const what of [
      ...['bpf', 'perf_event_open', 'keyctl', 'add_key', 'kexec_load', 'userfaultfd'],
      ...['io_uring_setup', 'open_by_handle_at', 'init_module'],
    ]) {
      expect(seen[what], what).toBe('EPERM')
    }
  })

  it('has no rights, and gets none', () => {
    const none = '0000000000000000'
    expect(seen['status']).toMatchObject({
      ...{ CapPrm: none, CapEff: none, CapAmb: none, NoNewPrivs: '1', Seccomp: '2' },
      ...(isRoot ? { Groups: '' } : {}),
    })
    expect(seen).toMatchObject({
      'become root': expect.stringMatching(/^E/),
      'make a device': 'EPERM',
      'raise the limit of core dumps': 'EPERM',
      'core limit': 1,
    })
    if (isRoot) expect(seen['status']).toMatchObject({ Uid: '65534\t65534\t65534\t65534' })
  })

  it('sees no terminal and no environment but the image’s', () => {
    expect(seen['terminals']).toEqual([false, false, false])
    expect(seen['environment']).toMatchObject({ GREETING: 'measured' })
    expect(Object.keys(seen['environment'] as object).sort()).toEqual(['GREETING'])
  })
})

describe.runIf(canRun && isRoot)('a program of a launcher that is root', () => {
  it('is nobody to the host, and so is init; the two are not the same', async () => {
    const scene = await FilesScene.make(world, [
      "import time; time.sleep(1); open('/data/result/x', 'w')",
    ])
    let pid = 0
    const users = new Map<number, string | undefined>()
    const outcome = await scene.launch({
      onEvent: event => {
        if (event.kind === 'started') pid = event.pid
        if (event.kind !== 'step' || event.step !== 'program-started') return
        setTimeout(() => {
          for (const found of namespaceOf(pid)) users.set(found, userOf(found))
        }, 500)
      },
    })
    expect(outcome).toMatchObject({ outcome: 'completed' })
    expect(users.get(pid)).toBe('65534')
    users.delete(pid)
    expect([...users.values()]).toEqual(['65533'])
  })
})

describe.runIf(canRun)('a program that uses up its machine', () => {
  it('by forking ends at the image’s number of processes, and none of them is left', async () => {
    const { outcome } = await runPython(`
import os, time
made = 0
try:
    while made < 5000:
        if os.fork() == 0:
            time.sleep(600)
            os._exit(0)
        made += 1
except OSError as error:
    print(made, error.errno)
open('/data/result/good', 'w').close()
`)
    expect(outcome).toMatchObject({ outcome: 'completed' })
    const [made, errno] = outcome.stdout.trim().split(' ').map(Number)
    expect(errno).toBe(11)
    expect(made).toBeLessThan(96)
  })

  it('by memory is ended, and init says so', async () => {
    const { outcome, scene } = await runPython(`
blocks = []
while True:
    blocks.append(bytearray(8 << 20))
`)
    const failure = { where: 'InstanceError', code: 'PROGRAM' }
    expect(outcome).toMatchObject({ outcome: 'failed', failure })
    if (outcome.isolation.limits.memory.startsWith('cgroup')) {
      const reasons = [{ code: 'MEMORY', message: expect.stringContaining('200 MiB') }]
      expect(outcome).toMatchObject({ exitCode: 137, signal: 'SIGKILL', failure: { reasons } })
      expect(outcome.usage.memoryKills).toBe(1)
      expect(outcome.usage.peakMemoryBytes).toBeLessThanOrEqual(200 << 20)
    } else {
      // Each process has the limit by itself, and is told of it.
      expect(outcome.stderr).toContain('MemoryError')
    }
    expect(readdirSync(scene.outputFolder)).toEqual([])
  })

  it('by printing is only ever waited for, and what it prints passes whole', async () => {
    const { outcome } = await runPython(`
import sys
for _ in range(1024):
    sys.stdout.write('x' * (1 << 16))
open('/data/result/good', 'w').close()
`)
    expect(outcome).toMatchObject({ outcome: 'completed' })
    expect(outcome.stdout).toHaveLength(1 << 26)
  })

  it('by files in memory finds its folders full', async () => {
    const { outcome } = await runPython(`
import os
def fill(path):
    try:
        with open(path, 'wb') as file:
            for _ in range(1000):
                file.write(bytes(1 << 20))
    except OSError as error:
        print(path, error.errno, os.path.getsize(path) >> 20)
    os.unlink(path)
fill('/memory/x')
fill('/scratch/x')
open('/data/result/good', 'w').close()
`)
    expect(outcome).toMatchObject({ outcome: 'completed' })
    expect(outcome.stdout).toBe('/memory/x 28 8\n/scratch/x 28 16\n')
  })

  it('by crashing leaves no core dump', async () => {
    const { outcome, scene } = await runPython(`
import ctypes, json, os, resource
os.chdir('/data/result')
try:
    resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
except (OSError, ValueError):
    pass
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
child = os.fork()
if child == 0:
    ctypes.string_at(0)
_, status = os.waitpid(child, 0)
print(json.dumps([os.WTERMSIG(status), os.WCOREDUMP(status), sorted(os.listdir('.'))]))
open('/data/result/good', 'w').close()
`)
    expect(outcome).toMatchObject({ outcome: 'completed' })
    expect(JSON.parse(outcome.stdout)).toEqual([11, false, []])
    expect(Object.keys(await scene.results())).toEqual(['good'])
  })
})

describe.runIf(canRun)('a program that leaves in its output', () => {
  const planted: readonly (readonly [what: string, text: string, why: RegExp])[] = [
    [
      'a link to its own environment',
      "os.symlink('/proc/self/environ', 'link')",
      /seen a symbolic link/,
    ],
    ['a link to the memory of init', "os.symlink('/proc/1/mem', 'link')", /seen a symbolic link/],
    ['a link to its input', "os.symlink('/data/people/people.csv', 'link')", /a symbolic link/],
    ['a link to the sealed input', "os.symlink('/in/people/manifest.jws', 'x')", /symbolic link/],
    ['a link to a folder outside', "os.symlink('/data/people', 'link')", /seen a symbolic link/],
    ['a link within it', "open('a', 'w').close(); os.symlink('a', 'x')", /seen a symbolic link/],
    ['a pipe', "os.mkfifo('pipe')", /seen a pipe/],
    ['a socket', "socket.socket(socket.AF_UNIX).bind('socket')", /seen a socket/],
    [
      'a file with a hole of a tebibyte',
      "os.truncate(os.open('big', os.O_CREAT | os.O_RDWR), 1 << 40)",
      /1099511627776 bytes long, at most 200 MiB/,
    ],
    ['a name of two lines', "open('a\\nb', 'w').close()", /one that a dataset takes/],
    ['a name that is no text', "open(b'\\xff', 'w').close()", /wanted UTF-8/],
    [
      'a path longer than datasets take',
      "[(os.mkdir('x' * 200), os.chdir('x' * 200)) for _ in range(6)]; open('y', 'w').close()",
      /one that a dataset takes/,
    ],
    ['nothing', "os.unlink('good')", /left no file/],
  ]

  it.each(planted)('%s gets no dataset', async (_what, text, why) => {
    const { outcome, scene } = await runPython(`
import os, socket
os.chdir('/data/result')
open('good', 'w').close()
${text}
`)
    expect(outcome).toMatchObject({
      ...{ outcome: 'failed', exitCode: 70, stderr: '' },
      failure: { where: 'InstanceError', code: 'OUTPUT', message: expect.stringMatching(why) },
    })
    expect(readdirSync(scene.outputFolder)).toEqual([])
  })

  it('a process that goes on writing finds it ended before anything is sealed', async () => {
    const scene = await FilesScene.make(world, [
      `
import os, signal, time
if os.fork() == 0:
    os.setsid()
    for number in range(1, 65):
        if number not in (signal.SIGKILL, signal.SIGSTOP, 32, 33):
            signal.signal(number, signal.SIG_IGN)
    if os.fork() != 0:
        os._exit(0)
    while True:
        with open('/data/result/late', 'a') as file:
            file.write('late')
while not os.path.exists('/data/result/late'):
    time.sleep(0.01)
`,
    ])
    let pid = 0
    let running: readonly number[] = []
    let before: readonly number[] = []
    const outcome = await scene.launch({
      onEvent: event => {
        if (event.kind === 'started') pid = event.pid
        if (event.kind !== 'step') return
        if (event.step === 'program-started') before = namespaceOf(pid)
        if (event.step === 'program-ended') {
          running = namespaceOf(pid).filter(found => !isDead(found))
        }
      },
    })
    expect(outcome).toMatchObject({ outcome: 'completed' })
    expect(before).toContain(pid)
    expect(running.filter(found => found !== pid)).toEqual([])
    expect((await scene.results())['late']).toMatch(/^(late)+$/)
  })
})
