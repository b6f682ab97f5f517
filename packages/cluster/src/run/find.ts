import { ClusterError } from '../errors.ts'
import type { Connection } from '../kubernetes/connection.ts'
import { recordOf } from '../kubernetes/json.ts'
import type { Watched } from '../kubernetes/watch.ts'
import { RUN_LABEL } from './labels.ts'
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

/**
 * Finds the object that stands for a run. Where the user may not look for those that Spark's tools
 * make, it is told with the refusal.
 * @throws ClusterError; `ABSENT` where there is no run of that name
 */
export async function findRun(
  connection: Connection,
  namespace: string,
  name: string,
): Promise<FoundRun> {
  const unseen: string[] = []
  for (const form of FORMS) {
    const path = pathOf(namespace, KIND_OF[form], name)
    const object = await orUnseen(form, unseen, () => connection.ask({ method: 'GET', path }))
    if (object !== undefined && standsFor(name, object)) return { form, object: recordOf(object) }
  }
  const message = [`the namespace ${namespace} has no run ${name}`, ...unseen].join('; ')
  throw new ClusterError('ABSENT', message)
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

function standsFor(name: string, object: unknown): boolean {
  const labels = recordOf(recordOf(recordOf(object)['metadata'])['labels'])
  return labels[RUN_LABEL] === name && labels['app.kubernetes.io/component'] === 'driver'
}
