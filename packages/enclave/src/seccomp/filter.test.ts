import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { assemble, type Line } from './bpf.ts'
import { seccompFilter } from './filter.ts'
import { verdictOf } from './interpreter.test.support.ts'
import { ALLOWED, JUDGED, REFUSED } from './system-calls.ts'

const X86_64 = 0xc000_003e
const ALLOW = 0x7fff_0000
const EPERM = 0x0005_0001
const ENOSYS = 0x0005_0026
const HEADER = '/usr/include/x86_64-linux-gnu/asm/unistd_64.h'
const PYTHON = '/usr/bin/python3'
const BUBBLEWRAP = '/usr/bin/bwrap'

const program = seccompFilter('x64') ?? new Uint8Array()
const call = (number: number, ...args: readonly (bigint | number)[]) =>
  verdictOf(program, { architecture: X86_64, number, arguments: args.map(BigInt) })

describe('the assembler', () => {
  const ret: Line = { return: ALLOW }

  it('writes what the kernel reads', () => {
    const lines: Line[] = [
      { load: 4 },
      { jump: 'equal', value: 0xc000_003e, yes: 'good' },
      { return: 0x8000_0000 },
      { label: 'good' },
      { and: 0xff },
      ret,
    ]
    // As `struct sock_filter` of Linux's samples/seccomp/bpf-direct.c.
    expect(Buffer.from(assemble(lines)).toString('hex')).toBe(
      ['2000000004000000', '150001003e0000c0', '0600000000000080', '54000000ff000000']
        .concat('060000000000ff7f')
        .join(''),
    )
  })

  it('refuses jumps back, too far, or nowhere, and programs without an end', () => {
    const far = Array.from({ length: 256 }, () => ret)
    for (const lines of [
      [],
      [{ load: 0 }],
      [{ jump: 'equal', value: 1, yes: 'gone' }, ret],
      [{ label: 'back' }, { jump: 'equal', value: 1, yes: 'back' }, ret],
      [{ jump: 'equal', value: 1, yes: 'far' }, ...far, { label: 'far' }, ret],
      [{ label: 'twice' }, ret, { label: 'twice' }, ret],
      Array.from({ length: 4097 }, () => ret),
    ] as readonly (readonly Line[])[]) {
      expect(() => assemble(lines)).toThrow(RangeError)
    }
  })
})

describe('the lists of system calls', () => {
  it('have each name and number once', () => {
    const all = [...ALLOWED, ...REFUSED, ...Object.entries(JUDGED)]
    expect(new Set(all.map(([name]) => name)).size).toBe(all.length)
    expect(new Set(all.map(([, number]) => number)).size).toBe(all.length)
    expect(all.every(([, number]) => Number.isInteger(number))).toBe(true)
  })

  it.runIf(existsSync(HEADER))('have the numbers of the kernel’s header', () => {
    const header = new Map(
      [...readFileSync(HEADER, 'utf8').matchAll(/^#define __NR_(\w+)\s+(\d+)$/gm)].map(
        ([, name = '', number]) => [name, Number(number)],
      ),
    )
    const known = new Map([...ALLOWED, ...REFUSED, ...Object.entries(JUDGED)])
    for (const [name, number] of known) expect(header.get(name) ?? number, name).toBe(number)
    expect(
      [...header.keys()].filter(name => !known.has(name) && (header.get(name) ?? 0) < 451),
    ).toEqual([])
  })
})

describe('the filter', () => {
  it('allows what is listed, refuses what is listed, knows nothing else', () => {
    const [allowed, refused] = [new Set(ALLOWED.values()), new Set(REFUSED.values())]
    const judged = new Set<number>(Object.values(JUDGED))
    for (let number = 0; number < 1024; number += 1) {
      if (judged.has(number)) continue
      const wanted = allowed.has(number) ? ALLOW : refused.has(number) ? EPERM : ENOSYS
      expect(call(number), `system call ${number}`).toBe(wanted)
    }
  })

  it('lets processes and threads be made, and no namespaces', () => {
    expect(call(JUDGED.clone, 17)).toBe(ALLOW)
    // What glibc asks for a thread.
    expect(call(JUDGED.clone, 0x3d_0f00)).toBe(ALLOW)
    for (const flag of [0x2_0000, 0x200_0000, 0x400_0000, 0x800_0000, 0x1000_0000, 0x2000_0000]) {
      expect(call(JUDGED.clone, flag | 17)).toBe(EPERM)
    }
    expect(call(JUDGED.clone, 0x4000_0000n | 17n)).toBe(EPERM)
    expect(call(JUDGED.clone3, 0)).toBe(ENOSYS)
  })

  it('lets sockets be made of the families and protocols that programs use', () => {
    for (const family of [1, 2, 10]) expect(call(JUDGED.socket, family, 1, 0)).toBe(ALLOW)
    for (const protocol of [0, 6, 17]) expect(call(JUDGED.socket, 2, 1, protocol)).toBe(ALLOW)
    expect(call(JUDGED.socket, 16, 3, 0)).toBe(ALLOW)
    // SCTP, MPTCP, raw, kernel events, audit, packets, virtual sockets, ciphers, Bluetooth.
    const odd: readonly (readonly [number, number])[] = [
      ...([
        [2, 132],
        [10, 262],
        [2, 255],
        [16, 15],
        [16, 9],
      ] as const),
      ...([
        [17, 3],
        [40, 0],
        [38, 0],
        [31, 0],
      ] as const),
    ]
    for (const [family, protocol] of odd) {
      expect(call(JUDGED.socket, family, 1, protocol)).not.toBe(ALLOW)
    }
    expect(call(JUDGED.socketpair, 1)).toBe(ALLOW)
    expect(call(JUDGED.socketpair, 2)).not.toBe(ALLOW)
  })

  it('lets devices be asked, and no terminal be tricked', () => {
    expect(call(JUDGED.ioctl, 0, 0x5401)).toBe(ALLOW)
    for (const request of [0x5412, 0x541c, 0x5423]) {
      expect(call(JUDGED.ioctl, 0, request)).toBe(EPERM)
      // The kernel looks at 32 bits of it.
      expect(call(JUDGED.ioctl, 0, BigInt(request) | (7n << 32n))).toBe(EPERM)
    }
    expect(call(JUDGED.personality, 0xffff_ffff)).toBe(ALLOW)
    // ADDR_NO_RANDOMIZE.
    expect(call(JUDGED.personality, 0x4_0000)).toBe(EPERM)
  })

  it('gives a verdict on any call at all, and allows none of other instruction sets', () =>
    fc.assert(
      fc.property(
        fc.oneof(fc.constant(X86_64), fc.nat(0xffff_ffff)),
        fc.oneof(fc.nat(500), fc.nat(0xffff_ffff)),
        fc.array(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), { minLength: 6, maxLength: 6 }),
        (architecture, number, args) => {
          const verdict = verdictOf(program, { architecture, number, arguments: args })
          if (architecture !== X86_64) expect(verdict).toBe(0x8000_0000)
          else if (number >= 0x4000_0000) expect(verdict).toBe(ENOSYS)
          else expect([ALLOW, EPERM, ENOSYS, 0x0005_0061, 0x0005_005d]).toContain(verdict)
        },
      ),
    ))

  it('is not to be had for other processors', () => {
    expect(seccompFilter('arm64')).toBeUndefined()
  })

  it.runIf(existsSync(PYTHON) && existsSync(BUBBLEWRAP) && process.arch === 'x64')(
    'is taken by the kernel, which then answers as it says',
    () => {
      const folder = mkdtempSync(join(tmpdir(), 'cloister-seccomp-'))
      try {
        const file = join(folder, 'filter')
        writeFileSync(file, program)
        const refused = [...REFUSED.values()]
        const unknown = [470, 500, 1000, 0x4000_0000]
        const script = `
import ctypes, json
libc = ctypes.CDLL(None, use_errno=True)
def call(*args):
    ctypes.set_errno(0)
    return ctypes.get_errno() if libc.syscall(*[ctypes.c_long(a) for a in args]) == -1 else 0
out = {str(n): call(n, -1, -1, -1, -1, -1, -1) for n in ${JSON.stringify([...refused, ...unknown])}}
out['newuser'] = call(${JUDGED.clone}, 0x10000000 | 17, 0, 0, 0, 0)
out['clone3'] = call(${JUDGED.clone3}, 0, 0)
out['vsock'] = call(${JUDGED.socket}, 40, 1, 0)
out['packet'] = call(${JUDGED.socket}, 17, 3, 3)
print(json.dumps(out))
`
        const args = [
          '--unshare-all',
          '--ro-bind',
          '/',
          '/',
          '--seccomp',
          '3',
          PYTHON,
          '-c',
          script,
        ]
        const { stdout, stderr } = spawnSync(BUBBLEWRAP, args, {
          stdio: ['ignore', 'pipe', 'pipe', openSync(file, 'r')],
          encoding: 'utf8',
        })
        expect(stderr).toBe('')
        const seen = JSON.parse(stdout) as Record<string, number>
        for (const number of refused) expect(seen[number], `system call ${number}`).toBe(1)
        for (const number of unknown) expect(seen[number], `system call ${number}`).toBe(38)
        expect(seen).toMatchObject({ newuser: 1, clone3: 38, vsock: 97, packet: 97 })
      } finally {
        rmSync(folder, { recursive: true })
      }
    },
  )

  it.runIf(existsSync(BUBBLEWRAP) && process.arch === 'x64')('lets Node run', () => {
    const folder = mkdtempSync(join(tmpdir(), 'cloister-seccomp-'))
    try {
      const file = join(folder, 'filter')
      writeFileSync(file, program)
      const script = `
        import { execFileSync } from 'node:child_process'
        import { networkInterfaces } from 'node:os'
        import { Worker } from 'node:worker_threads'
        networkInterfaces()
        execFileSync(process.execPath, ['-e', '0'])
        await new Promise((resolve, reject) => {
          new Worker('0', { eval: true }).on('exit', resolve).on('error', reject)
        })
        process.stdout.write('good')`
      const args = ['--unshare-all', '--ro-bind', '/', '/', '--proc', '/proc', '--seccomp', '3']
      const run = [...args, process.execPath, '--input-type=module', '-e', script]
      const stdio = ['ignore', 'pipe', 'inherit', openSync(file, 'r')] as const
      expect(execFileSync(BUBBLEWRAP, run, { stdio: [...stdio], encoding: 'utf8' })).toBe('good')
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})
