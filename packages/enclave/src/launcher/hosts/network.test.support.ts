import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'

const ip = (...argv: readonly string[]) => execFileSync('ip', argv, { stdio: 'pipe' })

/** Whether hosts of their own can be had here: network namespaces, as root. */
export const canNetwork =
  process.getuid?.() === 0 &&
  spawnSync('nsenter', ['--version']).error === undefined &&
  spawnSync('ip', ['netns', 'list']).status === 0

/** A host: a network namespace of its own, which a wire connects to the others. */
export interface TestHost {
  readonly address: string
  /** What a command begins with that is to run there. */
  readonly enter: readonly string[]
  /** Pulls the wire, or puts it back. */
  plug(isIn: boolean): void
}

/** Hosts at a bridge, and this process at the bridge too. */
export class TestNetwork {
  readonly #id = process.pid.toString(36)
  readonly #hosts: string[] = []
  readonly #subnet = `10.${100 + (process.pid % 100)}.${(process.pid >> 7) % 250}`
  readonly bridge = `clb${this.#id}`
  /** This process's own. */
  readonly address = `${this.#subnet}.1`

  constructor() {
    ip('link', 'add', this.bridge, 'type', 'bridge')
    ip('address', 'add', `${this.address}/24`, 'dev', this.bridge)
    ip('link', 'set', this.bridge, 'up')
  }

  host(): TestHost {
    const number = this.#hosts.length + 2
    const name = `cln${this.#id}x${number}`
    const wire = `clv${this.#id}x${number}`
    const address = `${this.#subnet}.${number}`
    ip('netns', 'add', name)
    this.#hosts.push(name)
    ip('link', 'add', wire, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name)
    ip('link', 'set', wire, 'master', this.bridge, 'up')
    ip('-n', name, 'address', 'add', `${address}/24`, 'dev', 'eth0')
    ip('-n', name, 'link', 'set', 'lo', 'up')
    ip('-n', name, 'link', 'set', 'eth0', 'up')
    const file = [`/run/netns/${name}`, `/var/run/netns/${name}`].find(existsSync)
    return {
      address,
      // Unlike `ip netns exec`, leaves control groups where they are.
      enter: ['nsenter', `--net=${file}`],
      plug: isIn => {
        ip('link', 'set', wire, isIn ? 'up' : 'down')
      },
    }
  }

  remove(): void {
    for (const name of this.#hosts) ip('netns', 'del', name)
    ip('link', 'del', this.bridge)
  }
}

/** Writes all that passes an interface to standard output. */
export const CAPTURE = `
import socket, sys
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 26)
wire.bind((sys.argv[1], 0))
print('listening', file=sys.stderr, flush=True)
while True: sys.stdout.buffer.write(wire.recv(1 << 17))
`
