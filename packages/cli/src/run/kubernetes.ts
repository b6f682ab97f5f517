import type { Command } from 'commander'
import {
  addClusterOptions,
  addPodOptions,
  type ClusterFlags,
  type PodFlags,
  podOptionsIn,
} from '../cluster/flags.ts'
import { givenOptions } from '../given-options.ts'
import type { Session } from '../session.ts'
import { UsageError } from '../usage-error.ts'
import type { HostsFlags } from './hosts.ts'

/** Flags of whoever runs a job in pods. */
export interface KubernetesFlags extends ClusterFlags, PodFlags {
  readonly detach?: true
}

interface Flags extends KubernetesFlags, HostsFlags {
  readonly executors?: number
  readonly withoutSandbox?: true
  readonly libpal?: string
}

/** Adds {@link KubernetesFlags}. */
export function addKubernetesOptions(command: Command): Command {
  return addPodOptions(addClusterOptions(command)).option(
    '--detach',
    'k8s: leaves the run to go on, and prints its name: cloister cluster watch follows it',
  )
}

/** Requires that nothing is said about pods. @throws UsageError */
export function requireNoPods(flags: KubernetesFlags): void {
  const [odd] = [...podOptionsIn(flags), ...givenOptions(flags, ['detach'])]
  if (odd === undefined) return
  throw new UsageError(`${odd}: is about pods`, 'give --on k8s too, or leave it out')
}

/** Runs a job in pods, and ends as its driver does. @throws UsageError, RunError, ClusterError */
export async function onKubernetes(session: Session, file: string, flags: Flags): Promise<void> {
  const [odd] = givenOptions(flags, ['listen', 'advertise', 'secretFile', 'wait', 'libpal'])
  if (odd !== undefined) throw new UsageError(`${odd}: pods have their own`, 'leave it out')
  // Not in the bundle of `cloister run`: the client of Kubernetes takes long to load.
  const { runOnKubernetes } = await import('../commands/run-on-kubernetes.ts')
  await runOnKubernetes(session, file, flags)
}
