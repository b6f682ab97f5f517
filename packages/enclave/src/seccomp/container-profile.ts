import { ALLOWED, JUDGED } from './system-calls.ts'

/** What bubblewrap makes an instance's namespaces and mounts by, and enters them. */
const SANDBOX = ['mount', 'pivot_root', 'setns', 'sethostname', 'umount2', 'unshare'] as const

/**
 * A filter for a container in which a launcher starts instances, as container engines read it: what
 * {@link seccompFilter} lets programs call, with any arguments, and what it takes to shut them in. In
 * an instance both filters hold.
 * @see OCI run-time specification, `linux.seccomp`; moby, `profiles/seccomp`
 */
export function containerProfile(): string {
  const names = [...ALLOWED.keys(), ...Object.keys(JUDGED), ...SANDBOX].sort()
  return JSON.stringify({
    defaultAction: 'SCMP_ACT_ERRNO',
    architectures: ['SCMP_ARCH_X86_64'],
    syscalls: [{ names, action: 'SCMP_ACT_ALLOW' }],
  })
}
