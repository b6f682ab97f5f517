import {
  type HostAddress,
  type HostsOptions,
  HostsSecret,
  parseHostAddress,
} from '@cloister/enclave/launcher'
import type { Command } from 'commander'
import { UsageError } from '../usage-error.ts'
import { wholeNumber } from '../whole-number.ts'

/** Flags of whoever has a part of a run that other hosts have parts of. */
export interface HostsFlags {
  readonly listen?: HostAddress
  readonly advertise?: HostAddress
  readonly secretFile?: string
  readonly wait?: number
}

/** Adds {@link HostsFlags}. */
export function addHostsOptions(command: Command): Command {
  return command
    .option('--listen <host:port>', 'where other hosts of the run reach this one', listenOf)
    .option('--advertise <host:port>', 'where they do, if that is elsewhere', advertiseOf)
    .option(
      '--secret-file <file>',
      'what the hosts have in common, 32 random bytes or more, mode 0600: keeps strangers out',
    )
    .option('--wait <seconds>', 'how long the others are waited for (default: 600)', waitOf)
}

/** Reads them. @throws UsageError; LaunchError `HOSTS_SECRET`, SigstructError `KEY_FILE` */
export async function hostsOf(flags: HostsFlags): Promise<HostsOptions> {
  const { listen, advertise, secretFile, wait } = flags
  if (listen === undefined && advertise !== undefined) {
    throw new UsageError('--advertise: nothing listens', 'give --listen HOST:PORT')
  }
  return {
    ...(listen && { listen }),
    ...(advertise && { advertise }),
    ...(secretFile === undefined ? {} : { secret: await HostsSecret.read(secretFile) }),
    ...(wait === undefined ? {} : { waitMs: wait * 1000 }),
  }
}

/** An address that a flag gives. @throws UsageError */
export function addressOf(flag: string, text: string, anyPort = false): HostAddress {
  const address = parseHostAddress(text, { anyPort })
  if (address !== undefined) return address
  throw new UsageError(`${flag}: wanted HOST:PORT, seen ${text}`, `as in ${flag} 10.0.0.1:7400`)
}

const listenOf = (text: string) => addressOf('--listen', text, true)
const advertiseOf = (text: string) => addressOf('--advertise', text)
const waitOf = (text: string) => wholeNumber('--wait', text, 1, 86_400)
