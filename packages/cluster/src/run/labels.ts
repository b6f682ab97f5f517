import { RunError } from '../errors.ts'

/** What bears the name of a run. */
export const RUN_LABEL = 'cloister/run'
/** On what stands for a run: how many executors it has. */
export const EXECUTORS_ANNOTATION = 'cloister/executors'

/** By which Spark and its operator tell drivers from executors, whoever made them. */
export const SPARK_ROLE_LABEL = 'spark-role'
/** Of what a SparkApplication has: its name. */
export const SPARK_APPLICATION_LABEL = 'sparkoperator.k8s.io/app-name'

const NAME = /^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$/

/** Requires what can name a run: names of objects, labels and selectors are made of it. @throws RunError OPTION */
export function requireRunName(name: string): void {
  if (NAME.test(name)) return
  throw new RunError('OPTION', `name: wanted at most 40 of a-z, 0-9 and -, seen ${name}`)
}

/** What a pod is in its run. */
export type Role = 'driver' | 'executor'

/** What drivers of all runs are found by, whatever makes them. */
export const LABELS_OF_DRIVERS = {
  'app.kubernetes.io/managed-by': 'cloister',
  'app.kubernetes.io/component': 'driver',
} as const

/** What objects of a run are found by. */
export const labelsOfRun = (run: string) => ({
  'app.kubernetes.io/name': 'cloister',
  'app.kubernetes.io/managed-by': 'cloister',
  [RUN_LABEL]: run,
})

/** What pods of a role are found by. */
export const labelsOfRole = (run: string, role: Role) => ({
  ...labelsOfRun(run),
  'app.kubernetes.io/component': role,
})

/** What every pod has: the chart's services let in those that say so. */
export const labelsOfPod = (run: string, role: Role) => ({
  ...labelsOfRole(run, role),
  'cloister/kms-client': 'true',
  'cloister/pccs-client': 'true',
})
