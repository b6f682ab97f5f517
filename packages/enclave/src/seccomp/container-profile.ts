import { AF_INET, AF_INET6, AF_NETLINK, AF_UNIX, NETLINK_ROUTE, PERSONALITIES } from './filter.ts'
import { ALLOWED, JUDGED } from './system-calls.ts'

/** What bubblewrap makes an instance's namespaces and mounts by, and enters them. */
const SANDBOX = ['mount', 'pivot_root', 'setns', 'sethostname', 'umount2', 'unshare'] as const

/** What arguments are, by their place. */
type Arguments = Readonly<Record<number, number>>

/**
 * Calls of which arguments are looked at here, too, and what these may be. Whoever can make namespaces
 * is root in them: by netlink he would reach the kernel's packet filters.
 */
const BY_ARGUMENT: Readonly<Partial<Record<keyof typeof JUDGED, readonly Arguments[]>>> = {
  personality: PERSONALITIES.map(personality => ({ 0: personality })),
  socket: [
    ...[AF_UNIX, AF_INET, AF_INET6].map(family => ({ 0: family })),
    { 0: AF_NETLINK, 2: NETLINK_ROUTE },
  ],
  socketpair: [{ 0: AF_UNIX }],
}

/** Kernels read these arguments as numbers of 32 bits, whatever is above. */
const LOWER_HALF = 0xffff_ffff

const action = 'SCMP_ACT_ALLOW'

/**
 * A filter for a container in which a launcher starts instances, as container engines read it: what
 * {@link seccompFilter} lets programs call, and what it takes to shut them in. Sockets are of the same
 * families; other arguments may be any. In an instance both filters hold.
 * @see OCI run-time specification, `linux.seccomp`; moby, `profiles/seccomp`
 */
export function containerProfile(): string {
  const names = [...ALLOWED.keys(), ...Object.keys(JUDGED), ...SANDBOX]
    .filter(name => !(name in BY_ARGUMENT))
    .sort()
  const byArgument = Object.entries(BY_ARGUMENT).flatMap(([name, all]) =>
    all.map(wanted => ({ names: [name], action, args: Object.entries(wanted).map(argument) })),
  )
  return JSON.stringify({
    defaultAction: 'SCMP_ACT_ERRNO',
    architectures: ['SCMP_ARCH_X86_64'],
    syscalls: [{ names, action }, ...byArgument],
  })
}

function argument([index, valueTwo]: readonly [string, number]) {
  return { index: Number(index), value: LOWER_HALF, valueTwo, op: 'SCMP_CMP_MASKED_EQ' }
}
