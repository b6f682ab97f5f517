import type { PodTemplate } from './template.ts'

/** Who is let be reached, or a part of the cluster. */
export type Peer = { readonly cidr: string } | { readonly namespace: string }

/** A way out of the pods. */
export interface WayOut {
  readonly to: Peer
  readonly port: number
}

/** What pods have of SGX. */
export interface SgxPlan {
  /** Whose device plugin the machines have. */
  readonly plugin: 'intel' | 'alibaba'
  readonly epcMiB: number
  /** Whether quotes are asked of the machine's AESM, by its socket. */
  readonly aesm: boolean
}

/**
 * What shuts instances in: bubblewrap in a pod that lets it make namespaces; the pod alone; SGX,
 * where the enclave does.
 */
export type Confinement = 'sandbox' | 'pod' | SgxPlan

/** Who makes the driver's pod: the controller of a Job, the Spark operator, or `spark-submit`. */
export type RunForm = 'job' | 'spark-application' | 'spark-submit'

/** A job as it is put into pods. */
export interface RunPlan {
  /** Of the run: at most 40 of `a-z0-9-`. */
  readonly name: string
  readonly form: RunForm
  /** The job file, with the paths that it has in pods. */
  readonly job: string
  /** The key service's pin. */
  readonly pin: string
  /** The image with the `cloister` command. */
  readonly image: string
  /** The volume claim with the job's image and datasets; undefined where templates have the volume. */
  readonly claim: string | undefined
  /** 0: the driver alone. */
  readonly executors: number
  /** What an instance needs. */
  readonly memoryMiB: number
  readonly cpus: number
  readonly confinement: Confinement
  /** A collateral service that a quote provider library in the pod asks. */
  readonly pccsUrl: string | undefined
  readonly waysOut: readonly WayOut[]
  readonly driverTemplate: PodTemplate
  readonly executorTemplate: PodTemplate
  /** For how long what is left of a run that has ended can be looked at. */
  readonly keepSeconds: number
}

/** Where the claim is mounted: what the job file's paths are under. */
export const JOB_FOLDER = '/job'

/** Where job file and pin are in a pod. */
export const CONFIGURATION = '/etc/cloister'

/** Where a driver listens, and where executors do. */
export const DRIVER_PORT = 7077
export const EXECUTOR_PORT = 7078
