import { ClusterError } from '../errors.ts'
import type { Connection } from '../kubernetes/connection.ts'
import { listOf, recordOf, textOf } from '../kubernetes/json.ts'
import { selectorOf } from '../kubernetes/selector.ts'
import { listObjects, type Watched } from '../kubernetes/watch.ts'
import { RUN_LABEL, requireRunName } from './labels.ts'
import { pathOf } from './paths.ts'
import type { RunForm } from './plan.ts'

/** The kind of the object that stands for a run of each form. */
export const KIND_OF = {
  job: 'Job',
  'spark-application': 'SparkApplication',
  'spark-submit': 'ConfigMap',
} as const satisfies Record<RunForm, string>

export const FORMS = Object.keys(KIND_OF) as readonly RunForm[]

/** A run that there is. */
export interface FoundRun {
  readonly form: RunForm
  readonly object: Watched
}

/** What there is of a name. */
export interface Sought {
  readonly run: FoundRun | undefined
  /** Where the user may not look for it, and why. */
  readonly unseen: readonly string[]
}

/**
 * Finds the object that stands for a run. Where the user may not look for those that Spark's tools
 * make, it is told with the refusal.
 * @throws ClusterError; `ABSENT` where there is no run of that name
 * @throws RunError OPTION for what names no run
 */
export async function findRun(
  connection: Connection,
  namespace: string,
  name: string,
): Promise<FoundRun> {
  const { run, unseen } = await seekRun(connection, namespace, name)
  if (run === undefined) throw noRun(namespace, name, unseen)
  return run
}

/** There is no run of that name, as far as the user may look. */
export function noRun(namespace: string, name: string, unseen: readonly string[]): ClusterError {
  const message = [`the namespace ${namespace} has no run ${name}`, ...unseen].join('; ')
  return new ClusterError('ABSENT', message)
}

/**
 * Looks for the object that stands for a run.
 * @throws ClusterError
 * @throws RunError OPTION for what names no run
 */
export async function seekRun(
  connection: Connection,
  namespace: string,
  name: string,
): Promise<Sought> {
  requireRunName(name)
  const unseen: string[] = []
  for (const form of FORMS) {
    const path = pathOf(namespace, KIND_OF[form], name)
    const object = await orUnseen(form, unseen, () => connection.ask({ method: 'GET', path }))
    if (object === undefined || !standsFor(name, object)) continue
    return { run: { form, object: recordOf(object) }, unseen }
  }
  return { run: undefined, unseen }
}

/** The objects of a kind that bear all these labels. @throws ClusterError */
export async function listLabelled(
  connection: Connection,
  namespace: string,
  kind: string,
  labels: Readonly<Record<string, string>>,
): Promise<readonly Watched[]> {
  const query = { labelSelector: selectorOf(labels) }
  return (await listObjects(connection, pathOf(namespace, kind), query)).objects
}

/**
 * What is answered about runs of a form; undefined where there is none, or where the user may not look
 * for those that Spark's tools make, which `unseen` is told.
 * @throws ClusterError
 */
export async function orUnseen<T>(
  form: RunForm,
  unseen: string[],
  ask: () => Promise<T>,
): Promise<T | undefined> {
  try {
    return await ask()
  } catch (error) {
    if (!(error instanceof ClusterError)) throw error
    if (error.code === 'ABSENT') return undefined
    if (error.code !== 'REFUSED' || form === 'job') throw error
    unseen.push(`not looked for among those of ${form}: ${error.message}`)
    return undefined
  }
}

/** The id that an object has, and none of its name before or after it. */
export const uidOf = (object: Watched): string | undefined =>
  textOf(recordOf(object['metadata'])['uid'])

/**
 * Whether a driver's pod that bears a run's name was made of that run. Of another of that name before
 * it a pod may be left, with its log and its end: who owns it, Spark's tools do not say, and leave it.
 */
export function isDriverOf({ form, object }: FoundRun, pod: Watched): boolean {
  if (form !== 'job') return !(createdAt(pod) < createdAt(object))
  const owners = listOf(recordOf(pod['metadata'])['ownerReferences']).map(recordOf)
  return owners.some(({ uid }) => uid === uidOf(object))
}

const createdAt = ({ metadata }: Watched) =>
  Date.parse(textOf(recordOf(metadata)['creationTimestamp']) ?? '')

/** Whether an object stands for the run of a name. */
export function standsFor(name: string, object: unknown): boolean {
  const labels = recordOf(recordOf(recordOf(object)['metadata'])['labels'])
  return labels[RUN_LABEL] === name && labels['app.kubernetes.io/component'] === 'driver'
}
