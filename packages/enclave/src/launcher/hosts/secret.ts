import { hkdfSync } from 'node:crypto'
import { inspect } from 'node:util'
import { readPrivateFile } from '../../sigstruct/private-file.ts'
import { LaunchError } from '../errors.ts'

const MIN_SECRET = 32

/** Whose host is called. */
export type Called = 'driver' | 'executor'

/**
 * What the hosts of a run have in common, so that strangers take no executor's place and fill no
 * connections. It guards nothing else: what instances say is under the run's secret, which no host has.
 */
export class HostsSecret {
  readonly #keys: Readonly<Record<Called, Buffer>>

  private constructor(keys: Readonly<Record<Called, Buffer>>) {
    this.#keys = keys
  }

  /** @param bytes - At least 32, of which nobody can guess half. @throws LaunchError `HOSTS_SECRET` */
  static from(bytes: Uint8Array): HostsSecret {
    if (bytes.length < MIN_SECRET) {
      const message = `the hosts' secret: wanted ${MIN_SECRET} bytes or more, seen ${bytes.length}`
      throw new LaunchError('HOSTS_SECRET', message)
    }
    const keyOf = (called: Called) =>
      Buffer.from(hkdfSync('sha256', bytes, '', hostIdentity(called), 32))
    return new HostsSecret({ driver: keyOf('driver'), executor: keyOf('executor') })
  }

  /** Reads a file of mode 0600. @throws LaunchError `HOSTS_SECRET`; SigstructError `KEY_FILE` */
  static async read(path: string): Promise<HostsSecret> {
    const bytes = await readPrivateFile(path, "hosts' secret")
    try {
      return HostsSecret.from(bytes)
    } finally {
      bytes.fill(0)
    }
  }

  /** The key of TLS, 32 bytes: another for each of the two ends. */
  keyFor(called: Called): Uint8Array {
    return this.#keys[called]
  }

  toJSON(): string {
    return '[HostsSecret]'
  }

  [inspect.custom](): string {
    return this.toJSON()
  }
}

/** What a caller names its key by. */
export function hostIdentity(called: Called): string {
  return `cloister hosts v1 ${called}`
}
