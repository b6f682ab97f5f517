import { execFileSync, spawnSync } from 'node:child_process'
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { afterAll, describe, expect, it } from 'vitest'
import { bundle } from '../../image/bundle.ts'

/**
 * A kernel to boot, such as Debian's `vmlinuz-…-cloud-amd64`: with it, with QEMU and a static busybox,
 * what is otherwise tried on files is tried on control groups of version 2, on any machine.
 */
const KERNEL = process.env['CLOISTER_VM_KERNEL'] ?? ''
const has = (command: string) => spawnSync(command, ['--help']).error === undefined
const canBoot = KERNEL !== '' && has('qemu-system-x86_64') && has('busybox')
const SKIPPED = canBoot ? '' : ' (SKIPPED: no CLOISTER_VM_KERNEL, QEMU or busybox)'

const PROGRAM = fileURLToPath(new URL('./in-vm.test.support.js', import.meta.url))
const MIB = 1024 * 1024

const INIT = `#!/bin/busybox sh
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
mount -t cgroup2 none /sys/fs/cgroup
echo '+memory +pids' > /sys/fs/cgroup/cgroup.subtree_control
node /program.mjs
poweroff -f
`

const APPLETS = ['sh', 'mount', 'echo', 'poweroff', 'sleep', 'dd', 'rm']

interface Trial {
  readonly trial: string
  readonly by?: readonly string[]
  readonly memory?: string
  readonly processes?: string
  readonly signal?: string | null
  readonly usage?: { readonly peakMemoryBytes?: number; readonly memoryKills?: number }
  readonly peakBytes?: number
  readonly isLeft?: boolean
}

describe.runIf(canBoot)(`control groups of version 2${SKIPPED}`, () => {
  const folder = mkdtempSync(join(tmpdir(), 'cloister-vm-'))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  it('limit and count an instance', { timeout: 300_000 }, async () => {
    const initrd = join(folder, 'initrd')
    writeFileSync(initrd, await initialFiles(join(folder, 'root')))
    const machine = ['-accel', 'tcg', '-cpu', 'max', '-m', '1500', '-nographic', '-no-reboot']
    const kernel = ['-kernel', KERNEL, '-initrd', initrd, '-append', 'console=ttyS0 quiet panic=-1']
    const said = execFileSync('qemu-system-x86_64', [...machine, ...kernel], {
      ...{ encoding: 'latin1', stdio: ['ignore', 'pipe', 'ignore'], timeout: 240_000 },
    })
    const trials = new Map(
      said
        .split(/\r?\n/)
        .flatMap(line => /\{"trial".*\}/.exec(line) ?? [])
        .map(line => JSON.parse(line) as Trial)
        .map(trial => [trial.trial, trial]),
    )
    expect([...trials.keys()]).toEqual(['here', 'memory', 'processes', 'files'])
    expect(trials.get('here')).toMatchObject({ memory: 'cgroup-v2', processes: 'cgroup-v2' })
    for (const name of ['memory', 'processes', 'files']) {
      const by = ['cgroup-v2', 'cgroup-v2', 'cgroup-v2']
      expect(trials.get(name)).toMatchObject({ by, isLeft: false })
    }
    // What does not fit is ended, and not swapped; and it is counted.
    const usage = { peakMemoryBytes: 40 * MIB, memoryKills: 1 }
    expect(trials.get('memory')).toMatchObject({ signal: 'SIGKILL', usage })
    expect(trials.get('processes')?.usage).toMatchObject({ peakProcesses: 4 })
    // Files in memory are the instance's.
    expect(trials.get('files')?.peakBytes).toBeGreaterThanOrEqual(30 * MIB)
    expect(trials.get('files')?.peakBytes).toBeLessThan(40 * MIB)
  })
})

/** busybox, this machine's Node and the program, as the kernel takes them. */
async function initialFiles(root: string): Promise<Uint8Array> {
  const put = (from: string, to: string) => {
    mkdirSync(dirname(join(root, to)), { recursive: true })
    copyFileSync(realpathSync(from), join(root, to))
  }
  const busybox = execFileSync('sh', ['-c', 'command -v busybox'], { encoding: 'utf8' }).trim()
  put(busybox, 'bin/busybox')
  put(process.execPath, 'bin/node')
  const libraries = execFileSync('ldd', [process.execPath], { encoding: 'utf8' })
  for (const path of libraries.match(/\/[^ ]+/g) ?? []) put(path, path)
  for (const name of APPLETS) symlinkSync('busybox', join(root, 'bin', name))
  for (const name of ['proc', 'sys', 'dev', 'tmp']) mkdirSync(join(root, name))
  writeFileSync(join(root, 'program.mjs'), await bundle({ entry: PROGRAM, external: [] }))
  writeFileSync(join(root, 'init'), INIT, { mode: 0o755 })
  const archive = execFileSync('sh', ['-c', 'find . | busybox cpio -o -H newc'], {
    ...{ cwd: root, maxBuffer: 1 << 30, stdio: ['ignore', 'pipe', 'ignore'] },
  })
  return gzipSync(archive, { level: 1 })
}
