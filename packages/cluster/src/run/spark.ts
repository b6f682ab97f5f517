import { RunError } from '../errors.ts'
import { LAUNCHER_MIB } from '../image.ts'
import type { Rendered } from './objects.ts'
import { CONFIGURATION, type RunPlan } from './plan.ts'
import { podOf } from './pod.ts'
import { SPARK_CONTAINER } from './template.ts'

/** Whose `spark-submit` was seen to keep to what is relied on here. What Spark a job has, its image says. */
const SPARK_VERSION = '4.2.0'

/** What runs, for who reads it: the job file. Spark wants a class named beside it; none is started. */
const RESOURCE = `local://${CONFIGURATION}/job.yaml`
const MAIN_CLASS = 'cloister'

/** What is given to `spark-submit`: files, and what comes after them on its command line. */
export interface SparkSubmission {
  /** A pod template for the driver. */
  readonly driver: object
  /** Spark's settings, as its files of properties have them. */
  readonly properties: string
  readonly words: readonly string[]
}

/** Of both: about the pod alone. What the job's Spark is set to is in its measured image. */
const SETTINGS = {
  // Nothing listens there.
  'spark.ui.enabled': 'false',
  // The folder that Spark has the pod have is not used; on no account is it on a disk.
  'spark.kubernetes.local.dirs.tmpfs': 'true',
} as const

/**
 * The object that the Spark operator makes a driver's pod of, with the same labels. Of `executor` it
 * makes nothing.
 */
export function sparkApplication(plan: RunPlan, metadata: Rendered['metadata']): Rendered {
  const { name, executors, cpus, memoryMiB } = plan
  const size = {
    ...{ cores: cpus, coreLimit: String(cpus) },
    ...{ memory: `${memoryMiB}m`, memoryOverhead: `${LAUNCHER_MIB}m` },
  }
  return {
    apiVersion: 'sparkoperator.k8s.io/v1beta2',
    kind: 'SparkApplication',
    metadata,
    spec: {
      ...{ type: 'Java', mode: 'cluster', sparkVersion: SPARK_VERSION, image: plan.image },
      ...{ mainClass: MAIN_CLASS, mainApplicationFile: RESOURCE },
      // What the job did is not to be done again without anybody knowing.
      restartPolicy: { type: 'Never' },
      timeToLiveSeconds: plan.keepSeconds,
      sparkConf: SETTINGS,
      driver: { ...size, serviceAccount: name, template: podOf(plan, 'driver') },
      // Quotas and queues count them.
      executor: executors === 0 ? {} : { ...size, instances: executors },
    },
  } as Rendered
}

/** What `spark-submit` makes a driver's pod of. @throws RunError OPTION */
export function sparkSubmission(plan: RunPlan, namespace: string): SparkSubmission {
  const { name, executors, cpus, memoryMiB } = plan
  const properties = {
    'spark.app.name': name,
    'spark.kubernetes.namespace': namespace,
    'spark.kubernetes.driver.pod.name': `${name}-driver`,
    'spark.kubernetes.driver.podTemplateContainerName': SPARK_CONTAINER,
    'spark.kubernetes.driver.container.image': plan.image,
    'spark.kubernetes.authenticate.driver.serviceAccountName': name,
    'spark.driver.cores': String(cpus),
    'spark.kubernetes.driver.limit.cores': String(cpus),
    'spark.driver.memory': `${memoryMiB}m`,
    'spark.driver.memoryOverhead': `${LAUNCHER_MIB}m`,
    ...(executors > 0 && { 'spark.executor.instances': String(executors) }),
    ...SETTINGS,
  }
  return {
    driver: { apiVersion: 'v1', kind: 'Pod', ...podOf(plan, 'driver') },
    properties: Object.entries(properties)
      .map(([key, value]) => `${key} ${requirePlain(key, value)}\n`)
      .join(''),
    words: ['--class', MAIN_CLASS, RESOURCE],
  }
}

/**
 * In a file of properties a new line begins another property, a backslash changes what follows it, and
 * Spark puts something else in the place of `${…}`.
 */
function requirePlain(key: string, value: string): string {
  if (/^[^\s\\$]+$/.test(value)) return value
  const seen = JSON.stringify(value)
  throw new RunError('OPTION', `${key}: wanted no space, backslash or $, seen ${seen}`)
}
