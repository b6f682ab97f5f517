import { MAX_EXECUTORS } from '@cloister/enclave/launcher'
import { RunError } from '../errors.ts'
import { EXECUTORS_ANNOTATION, labelsOfRole, labelsOfRun, requireRunName } from './labels.ts'
import { networkPoliciesOf } from './network.ts'
import { DRIVER_PORT, type RunPlan } from './plan.ts'
import { podOf, QCNL_FILE, sgxOf } from './pod.ts'
import { type SparkSubmission, sparkApplication, sparkSubmission } from './spark.ts'

/** An object to be made. */
export interface Rendered {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: {
    readonly name: string
    readonly labels: Readonly<Record<string, string>>
    readonly annotations?: Readonly<Record<string, string>>
  }
}

/** A run's objects: what its driver is made of, a Job or a SparkApplication, which owns the others. */
export interface RunObjects {
  readonly driver: Rendered
  readonly others: readonly Rendered[]
}

/** What `spark-submit` is given, and what is to be in the cluster before. */
export interface RenderedSparkSubmit extends SparkSubmission {
  /** The first, the job's ConfigMap, stands for the run. */
  readonly objects: readonly Rendered[]
}

const NAMESPACE = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/
/**
 * What `cloister executor` ends with where another of its kind would end the same way: usage,
 * refused, not authentic, not found.
 */
const HOPELESS = [2, 3, 4, 5]

/**
 * Renders the objects of a run. None has a secret in it.
 * @throws RunError OPTION
 */
export function renderRun(plan: RunPlan): RunObjects {
  requirePossible(plan)
  if (plan.form === 'spark-submit') {
    throw new RunError('OPTION', 'what spark-submit makes a run of is no object of a cluster')
  }
  const metadata = metadataOfDriver(plan)
  return {
    driver: plan.form === 'job' ? driverJob(plan, metadata) : sparkApplication(plan, metadata),
    others: [configMap(plan, metadataOf(plan)), ...besides(plan)],
  }
}

/**
 * Renders what `spark-submit` makes a run of. None has a secret in it.
 * @throws RunError OPTION
 */
export function renderSparkSubmit(plan: RunPlan, namespace: string): RenderedSparkSubmit {
  requirePossible(plan)
  if (!NAMESPACE.test(namespace)) {
    const seen = JSON.stringify(namespace)
    throw new RunError('OPTION', `namespace: wanted at most 63 of a-z, 0-9 and -, seen ${seen}`)
  }
  return {
    objects: [configMap(plan, metadataOfDriver(plan)), ...besides(plan)],
    ...sparkSubmission(plan, namespace),
  }
}

const besides = (plan: RunPlan): readonly Rendered[] => [
  {
    ...{ apiVersion: 'v1', kind: 'ServiceAccount', metadata: metadataOf(plan) },
    automountServiceAccountToken: false,
  } as Rendered,
  ...(networkPoliciesOf(plan) as readonly Rendered[]),
  ...(plan.executors === 0 ? [] : [driverService(plan), executorJob(plan)]),
]

function requirePossible(plan: RunPlan): void {
  const { name, executors, claim, driverTemplate, executorTemplate } = plan
  requireRunName(name)
  if (!Number.isInteger(executors) || executors < 0 || executors > MAX_EXECUTORS) {
    const message = `executors: wanted 0 to ${MAX_EXECUTORS}, seen ${executors}`
    throw new RunError('OPTION', message)
  }
  if (executors > 0 && sgxOf(plan) !== undefined) {
    throw new RunError('OPTION', 'executors: a job under Gramine is one instance')
  }
  if (executors > 0 && plan.confinement === 'pod') {
    throw new RunError('OPTION', 'executors: without a sandbox they would have one network')
  }
  const templates = executors > 0 ? [driverTemplate, executorTemplate] : [driverTemplate]
  for (const { volumes } of templates) {
    const has = volumes.some(volume => volume.name === 'job')
    if (has === (claim !== undefined)) {
      const seen = has ? 'both' : 'neither'
      const message = `wanted a claim, or a volume named job in each pod template; seen ${seen}`
      throw new RunError('OPTION', message)
    }
  }
}

const metadataOf = ({ name }: RunPlan) => ({ name, labels: labelsOfRun(name) })

const metadataOfDriver = (plan: RunPlan) => ({
  name: plan.name,
  labels: labelsOfRole(plan.name, 'driver'),
  annotations: { [EXECUTORS_ANNOTATION]: String(plan.executors) },
})

function driverJob(plan: RunPlan, metadata: Rendered['metadata']): Rendered {
  return {
    ...{ apiVersion: 'batch/v1', kind: 'Job', metadata },
    spec: {
      // What the job did is not to be done again without anybody knowing.
      ...{ backoffLimit: 0, completions: 1, parallelism: 1 },
      ttlSecondsAfterFinished: plan.keepSeconds,
      template: podOf(plan, 'driver'),
    },
  } as Rendered
}

function executorJob(plan: RunPlan): Rendered {
  const { name, executors } = plan
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { name: `${name}-executor`, labels: labelsOfRole(name, 'executor') },
    spec: {
      ...{ completionMode: 'Indexed', completions: executors, parallelism: executors },
      // One that is lost is replaced, at most three times; one that was refused is not.
      backoffLimitPerIndex: 3,
      podFailurePolicy: {
        rules: [
          {
            action: 'FailIndex',
            onExitCodes: { containerName: 'cloister', operator: 'In', values: HOPELESS },
          },
          { action: 'Ignore', onPodConditions: [{ type: 'DisruptionTarget', status: 'True' }] },
        ],
      },
      template: podOf(plan, 'executor'),
    },
  } as Rendered
}

function configMap(plan: RunPlan, metadata: Rendered['metadata']): Rendered {
  const { pccsUrl } = plan
  return {
    ...{ apiVersion: 'v1', kind: 'ConfigMap', metadata },
    immutable: true,
    data: {
      'job.yaml': plan.job,
      'kms.json': plan.pin,
      ...(pccsUrl !== undefined && {
        [QCNL_FILE]: JSON.stringify({ pccs_url: pccsUrl, use_secure_cert: true }),
      }),
    },
  } as Rendered
}

/** Executors find the driver by its name, before it is ready too. */
function driverService(plan: RunPlan): Rendered {
  return {
    ...{ apiVersion: 'v1', kind: 'Service', metadata: metadataOf(plan) },
    spec: {
      clusterIP: 'None',
      publishNotReadyAddresses: true,
      selector: labelsOfRole(plan.name, 'driver'),
      ports: [{ name: 'peers', port: DRIVER_PORT, targetPort: DRIVER_PORT, protocol: 'TCP' }],
    },
  } as Rendered
}
