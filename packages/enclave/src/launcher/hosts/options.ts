import type { LaunchEvent } from '../event.ts'
import { encodeHostAddress, type HostAddress, isLoopback } from './address.ts'
import type { HostsSecret } from './secret.ts'

/** How launchers of several hosts find each other. */
export interface HostsOptions {
  /** Where this one listens. An executor's without it calls, and is not called. */
  readonly listen?: HostAddress
  /** Where others reach it, where that is elsewhere. */
  readonly advertise?: HostAddress
  /** Without it, whoever reaches them can take an executor's place. */
  readonly secret?: HostsSecret
  /** How long the others are waited for; without it, ten minutes. */
  readonly waitMs?: number
  /** After how long without a word another host is taken for lost; without it, 20 seconds. */
  readonly silenceMs?: number
}

/** The options of a host that listens, as a driver's does. */
export type ListeningOptions = HostsOptions & { readonly listen: HostAddress }

/** How long others are waited for unless told. */
export const WAIT_MS = 600_000

/** Says what it means to listen for strangers. */
export function warnOfStrangers(
  { listen, secret }: HostsOptions,
  onEvent: (event: LaunchEvent) => void,
): void {
  if (listen === undefined || secret !== undefined || isLoopback(listen.host)) return
  const where = encodeHostAddress(listen)
  const message = `UNAUTHENTICATED_HOSTS: strangers who reach ${where} can take executors' places and so stop the job; they learn nothing, and change no result. A secret of the hosts (--secret-file) keeps them out`
  onEvent({ kind: 'warning', code: 'UNAUTHENTICATED_HOSTS', message })
}
