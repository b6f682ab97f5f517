import type { Command } from 'commander'
import { givenOptions } from '../given-options.ts'
import type { GlobalFlags } from '../session.ts'
import { UsageError } from '../usage-error.ts'

/** Which cluster, and where in it. */
export interface ClusterFlags extends GlobalFlags {
  readonly kubeconfig?: string
  readonly context?: string
  readonly namespace?: string
}

/** What pods are like that a job runs in. */
export interface PodFlags {
  readonly as?: string
  readonly name?: string
  readonly podImage?: string
  readonly claim?: string
  readonly sgx?: string
  readonly epcMib?: string
  readonly withoutAesm?: true
  readonly pccs?: string
  readonly cpus?: string
  readonly memoryMib?: string
  readonly kmsPeer?: string
  readonly pccsPeer?: string
  readonly allowEgress?: readonly string[]
  readonly driverTemplate?: string
  readonly executorTemplate?: string
}

/** Adds which cluster a command is about. */
export function addClusterOptions(command: Command): Command {
  return command
    .option('--kubeconfig <file>', 'which clusters there are (default: as kubectl)')
    .option('--context <name>', 'which of them (default: the current one)')
    .option('--namespace <name>', 'where in it (default: the context’s)')
}

/** Adds what pods are to be like. */
export function addPodOptions(command: Command): Command {
  return command
    .option('--as <what>', 'k8s: job, spark-application or spark-submit (default: job)')
    .option('--name <name>', 'k8s: of the run (default: the job’s folder, and five letters)')
    .option('--pod-image <image>', 'k8s: what pods run: an image with the cloister command')
    .option('--claim <name>', 'k8s: the volume claim with the folder of the job file')
    .option('--sgx <plugin>', 'k8s: on SGX, by the device plugin of intel or of alibaba')
    .option('--epc-mib <MiB>', 'k8s, SGX: how much EPC (default: the job’s memory)')
    .option('--without-aesm', 'k8s, SGX: machines have no AESM')
    .option('--pccs <url>', 'k8s, SGX: the collateral service of a quote library in the pod')
    .option('--cpus <number>', 'k8s: how many processors an instance has (default: 2)')
    .option('--memory-mib <MiB>', 'k8s: how much memory an instance has (default: the job’s)')
    .option('--kms-peer <CIDR>', 'k8s: the key service’s addresses, where its name does not say')
    .option('--pccs-peer <CIDR>', 'k8s: the collateral service’s, likewise')
    .option('--allow-egress <CIDR:PORT>', 'k8s: lets pods out to more than these', collected)
    .option('--driver-template <file>', 'k8s: a pod template for the driver')
    .option('--executor-template <file>', 'k8s: a pod template for executors')
}

const collected = (text: string, before: readonly string[] = []) => [...before, text]

/** Those of the options about clusters and pods that were given. */
export function podOptionsIn(flags: ClusterFlags & PodFlags): readonly string[] {
  return givenOptions(flags, [
    ...(['name', 'podImage', 'claim', 'sgx', 'epcMib', 'withoutAesm', 'pccs', 'cpus'] as const),
    ...(['memoryMib', 'kmsPeer', 'pccsPeer', 'allowEgress', 'driverTemplate'] as const),
    ...(['executorTemplate', 'as', 'kubeconfig', 'context', 'namespace'] as const),
  ])
}

/** An option that there must be. @throws UsageError */
export function wanted(flag: string, value: string | undefined, nextStep: string): string {
  if (value !== undefined) return value
  throw new UsageError(`${flag}: wanted for pods, seen none`, nextStep)
}
