import { assemble, type Line } from './bpf.ts'
import { ALLOWED, JUDGED, REFUSED } from './system-calls.ts'

/** Offsets in `struct seccomp_data`; of an argument the lower half, which x86-64 puts first. */
const NUMBER = 0
const ARCHITECTURE = 4
const argument = (index: number) => 16 + 8 * index

/** AUDIT_ARCH_X86_64 (include/uapi/linux/audit.h). */
const X86_64 = 0xc000_003e

/** __X32_SYSCALL_BIT: the same calls with pointers of 32 bits, under numbers from here up. */
const X32 = 0x4000_0000

/** Verdicts (include/uapi/linux/seccomp.h). */
const ALLOW = 0x7fff_0000
const KILL_PROCESS = 0x8000_0000
const failWith = (errno: number) => 0x0005_0000 | errno

/** Numbers of errors on Linux (include/uapi/asm-generic/errno.h). */
const EPERM = 1
const ENOSYS = 38
const EAFNOSUPPORT = 97
const EPROTONOSUPPORT = 93

/**
 * CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET (include/uapi/linux/sched.h). What
 * stands for NEWTIME elsewhere is part of the signal's number here.
 */
const NEW_NAMESPACES = 0x7e02_0000

/** Address families (include/linux/socket.h). */
export const AF_UNIX = 1
export const AF_INET = 2
export const AF_INET6 = 10
export const AF_NETLINK = 16

/** Protocols: none in particular, TCP, UDP. */
const INTERNET_PROTOCOLS = [0, 6, 17]

/** NETLINK_ROUTE, by which programs list their interfaces. */
export const NETLINK_ROUTE = 0

/** TIOCSTI puts input into a terminal, TIOCLINUX pastes into it, TIOCSETD loads line disciplines. */
const TERMINAL_TRICKS = [0x5412, 0x541c, 0x5423]

/** Personas that change nothing that matters: those that container engines allow. */
export const PERSONALITIES = [0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff]

const verdict = (value: number): Line => ({ return: value })

/** Gives a verdict when the loaded word equals one of some values. */
function ifAnyOf(values: readonly number[], then: number, name: string): readonly Line[] {
  const [no, yes] = [`no ${name}`, `one ${name}`]
  return [
    ...values.map((value, index): Line => {
      const isLast = index === values.length - 1
      return { jump: 'equal', value, yes, ...(isLast ? { no } : {}) }
    }),
    { label: yes },
    verdict(then),
    { label: no },
  ]
}

/** A part of the program for one system call; falls through to the next for every other. */
function judging(name: keyof typeof JUDGED, lines: readonly Line[]): readonly Line[] {
  return [
    { load: NUMBER },
    { jump: 'equal', value: JUDGED[name], no: `not ${name}` },
    ...lines,
    { label: `not ${name}` },
  ]
}

/** New processes and threads, but no new namespaces. */
const CLONE = judging('clone', [
  { load: argument(0) },
  { jump: 'any-bit', value: NEW_NAMESPACES, no: 'clone is plain' },
  verdict(failWith(EPERM)),
  { label: 'clone is plain' },
  verdict(ALLOW),
])

/** Its flags are in memory, where no filter sees them; with this error libraries use clone. */
const CLONE3 = judging('clone3', [verdict(failWith(ENOSYS))])

/** Unix and internet sockets, and the one by which a program lists its interfaces. */
const SOCKET = judging('socket', [
  { load: argument(0) },
  ...ifAnyOf([AF_UNIX], ALLOW, 'unix socket'),
  { jump: 'equal', value: AF_NETLINK, no: 'not netlink' },
  { load: argument(2) },
  ...ifAnyOf([NETLINK_ROUTE], ALLOW, 'route socket'),
  verdict(failWith(EPROTONOSUPPORT)),
  { label: 'not netlink' },
  { jump: 'equal', value: AF_INET, yes: 'internet' },
  { jump: 'equal', value: AF_INET6, yes: 'internet', no: 'no internet' },
  { label: 'internet' },
  { load: argument(2) },
  ...ifAnyOf(INTERNET_PROTOCOLS, ALLOW, 'internet protocol'),
  verdict(failWith(EPROTONOSUPPORT)),
  { label: 'no internet' },
  verdict(failWith(EAFNOSUPPORT)),
])

const SOCKETPAIR = judging('socketpair', [
  { load: argument(0) },
  ...ifAnyOf([AF_UNIX], ALLOW, 'pair'),
  verdict(failWith(EAFNOSUPPORT)),
])

const IOCTL = judging('ioctl', [
  { load: argument(1) },
  ...ifAnyOf(TERMINAL_TRICKS, failWith(EPERM), 'terminal trick'),
  verdict(ALLOW),
])

const PERSONALITY = judging('personality', [
  { load: argument(0) },
  ...ifAnyOf(PERSONALITIES, ALLOW, 'personality'),
  verdict(failWith(EPERM)),
])

/** Numbers as ranges without gaps, in order. */
function rangesOf(numbers: Iterable<number>): readonly (readonly [first: number, last: number])[] {
  const ranges: [number, number][] = []
  for (const number of [...numbers].sort((a, b) => a - b)) {
    const range = ranges.at(-1)
    if (range !== undefined && range[1] === number - 1) range[1] = number
    else ranges.push([number, number])
  }
  return ranges
}

/** Gives a verdict on every number of a list. */
function onAll(numbers: Iterable<number>, then: number, name: string): readonly Line[] {
  return rangesOf(numbers).flatMap(([first, last]): readonly Line[] => [
    { jump: 'greater-or-equal', value: first, no: `not ${name} ${first}` },
    { jump: 'greater', value: last, yes: `not ${name} ${first}` },
    verdict(then),
    { label: `not ${name} ${first}` },
  ])
}

/**
 * The filter that every process of an instance is under: what is not known to be harmless is
 * refused. Refused calls fail with EPERM, those that no list names with ENOSYS, so that libraries do
 * without them; code of another processor's instruction set is ended.
 * @returns the array of `struct sock_filter` that `bwrap --seccomp` takes; undefined for a processor
 * that there is no filter for
 */
export function seccompFilter(architecture: string = process.arch): Uint8Array | undefined {
  if (architecture !== 'x64') return undefined
  return assemble([
    { load: ARCHITECTURE },
    { jump: 'equal', value: X86_64, yes: 'known instructions' },
    verdict(KILL_PROCESS),
    { label: 'known instructions' },
    { load: NUMBER },
    { jump: 'greater-or-equal', value: X32, no: 'known numbers' },
    verdict(failWith(ENOSYS)),
    { label: 'known numbers' },
    ...onAll(ALLOWED.values(), ALLOW, 'allowed'),
    ...onAll(REFUSED.values(), failWith(EPERM), 'refused'),
    ...CLONE,
    ...CLONE3,
    ...SOCKET,
    ...SOCKETPAIR,
    ...IOCTL,
    ...PERSONALITY,
    verdict(failWith(ENOSYS)),
  ])
}
