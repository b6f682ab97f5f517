import type { Connection } from '../kubernetes/connection.ts'
import { listOf, recordOf, textOf } from '../kubernetes/json.ts'
import { nameOf, type Watched } from '../kubernetes/watch.ts'
import { FORMS, isDriverOf, KIND_OF, listLabelled, orUnseen, standsFor } from './find.ts'
import { EXECUTORS_ANNOTATION, LABELS_OF_DRIVERS } from './labels.ts'
import type { RunForm } from './plan.ts'

/** How a run stands, as what its driver is made of says. */
export type RunState = 'held' | 'waiting' | 'running' | 'completed' | 'failed' | 'going'

/** A run that the cluster has. */
export interface RunSummary {
  readonly name: string
  readonly form: RunForm
  readonly state: RunState
  readonly executors: number
  readonly createdAt: string
}

/** The runs of a namespace. */
export interface RunList {
  readonly runs: readonly RunSummary[]
  /** Which runs the user may not look for, and why. */
  readonly unseen: readonly string[]
}

/** The runs of a namespace. @throws ClusterError */
export async function listRuns(connection: Connection, namespace: string): Promise<RunList> {
  const unseen: string[] = []
  const listed = (kind: string) => listLabelled(connection, namespace, kind, LABELS_OF_DRIVERS)
  const runs: RunSummary[] = []
  for (const form of FORMS) {
    const objects = (await orUnseen(form, unseen, () => listed(KIND_OF[form]))) ?? []
    // Of what spark-submit makes a pod of, the pod alone says how it stands.
    const pods = form === 'spark-submit' && objects.length > 0 ? await listed('Pod') : []
    for (const object of objects) {
      const name = nameOf(object)
      if (!standsFor(name, object)) continue
      const pod = pods.find(pod => standsFor(name, pod) && isDriverOf({ form, object }, pod))
      runs.push(summaryOf(form, object, form === 'spark-submit' ? pod : object))
    }
  }
  return { runs, unseen }
}

function summaryOf(form: RunForm, object: Watched, stands: Watched | undefined): RunSummary {
  const { creationTimestamp } = recordOf(object['metadata'])
  return {
    name: nameOf(object),
    form,
    state: stands === undefined ? 'waiting' : stateOf(form, stands),
    executors: executorsOf(object),
    createdAt: textOf(creationTimestamp) ?? '',
  }
}

/** How many executors a run has, as what stands for it says. */
export function executorsOf(object: Watched): number {
  const { annotations } = recordOf(object['metadata'])
  return Number(textOf(recordOf(annotations)[EXECUTORS_ANNOTATION]) ?? 0)
}

/** How a run stands, as its Job, its SparkApplication or the pod that spark-submit made says. */
export function stateOf(form: RunForm, object: Watched): RunState {
  const said = END_OF[form](object)
  if (said === 'completed' || said === 'failed') return said
  if (recordOf(object['metadata'])['deletionTimestamp'] !== undefined) return 'going'
  if (recordOf(object['spec'])['suspend'] === true) return 'held'
  return said
}

const END_OF: Readonly<Record<RunForm, (object: Watched) => RunState>> = {
  job: stateOfJob,
  'spark-application': object => BY_STATE.get(applicationStateOf(object)) ?? 'waiting',
  'spark-submit': ({ status }) =>
    BY_PHASE.get(textOf(recordOf(status)['phase']) ?? '') ?? 'waiting',
}

/** @see https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/job-v1/#JobStatus */
function stateOfJob(job: Watched): RunState {
  const isTrue = (type: string) => conditionOf(job, type)['status'] === 'True'
  if (isTrue('Complete')) return 'completed'
  if (isTrue('Failed')) return 'failed'
  return Number(recordOf(job['status'])['ready'] ?? 0) > 0 ? 'running' : 'waiting'
}

/** Of a SparkApplication; others are on their way to these. */
const BY_STATE = new Map<string, RunState>([
  ...(['RUNNING', 'SUCCEEDING', 'FAILING'] as const).map(state => [state, 'running'] as const),
  ['COMPLETED', 'completed'],
  ['FAILED', 'failed'],
])

/** @see https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-phase */
const BY_PHASE = new Map<string, RunState>([
  ['Running', 'running'],
  ['Succeeded', 'completed'],
  ['Failed', 'failed'],
])

/** The state that the Spark operator gives a SparkApplication; empty where it has given none. */
export const applicationStateOf = (object: Watched): string =>
  textOf(recordOf(recordOf(object['status'])['applicationState'])['state']) ?? ''

/** A condition of an object; empty where it has none of that type. */
export function conditionOf(object: Watched, type: string): Readonly<Record<string, unknown>> {
  const { conditions } = recordOf(object['status'])
  return (
    listOf(conditions)
      .map(recordOf)
      .find(condition => condition['type'] === type) ?? {}
  )
}
