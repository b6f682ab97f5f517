import { describe, expect, it } from 'vitest'
import { containerProfile } from './container-profile.ts'

interface Rule {
  readonly names: readonly string[]
  readonly action: string
  readonly args?: readonly {
    readonly index: number
    readonly value: number
    readonly valueTwo: number
    readonly op: string
  }[]
}

const { defaultAction, syscalls }: { defaultAction: string; syscalls: readonly Rule[] } =
  JSON.parse(containerProfile())

/** Whether the filter lets a call be made with these arguments. */
const isAllowed = (name: string, ...given: readonly number[]) =>
  syscalls.some(
    ({ names, args = [] }) =>
      names.includes(name) &&
      args.every(
        ({ index, value, valueTwo, op }) =>
          op === 'SCMP_CMP_MASKED_EQ' && ((given[index] ?? 0) & value) === (valueTwo | 0),
      ),
  )

describe('the filter of a container in which instances are', () => {
  it('lets sockets be of the families that instances have, and of no other', () => {
    expect(defaultAction).toBe('SCMP_ACT_ERRNO')
    const families = Array.from({ length: 64 }, (_, family) => family)
    // AF_UNIX, AF_INET, AF_INET6, AF_NETLINK: not AF_PACKET (17), AF_ALG (38), AF_VSOCK (40).
    expect(families.filter(family => isAllowed('socket', family))).toEqual([1, 2, 10, 16])
    expect(families.filter(family => isAllowed('socketpair', family))).toEqual([1])
    // NETLINK_ROUTE, and not NETLINK_NETFILTER (12).
    const protocols = families.filter(protocol => isAllowed('socket', 16, 1, protocol))
    expect(protocols).toEqual([0])
  })

  it('lets nobody make pages of data executable by a personality', () => {
    expect(isAllowed('personality', 0)).toBe(true)
    expect(isAllowed('personality', 0xffff_ffff)).toBe(true)
    expect(isAllowed('personality', 0x0400_0000)).toBe(false)
    expect(isAllowed('personality', 0x0004_0000)).toBe(false)
  })

  it.each([
    ...[
      'bpf',
      'ptrace',
      'io_uring_setup',
      'keyctl',
      'add_key',
      'clock_settime',
      'open_by_handle_at',
    ],
    ...['userfaultfd', 'perf_event_open', 'init_module', 'kexec_load', 'fsopen', 'move_mount'],
  ])('has no %s', name => {
    expect(isAllowed(name, 0)).toBe(false)
  })

  it('has what shuts instances in', () => {
    for (const name of ['mount', 'pivot_root', 'unshare', 'clone', 'setns']) {
      expect(isAllowed(name, 0)).toBe(true)
    }
  })
})
