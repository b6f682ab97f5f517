import type { Connection } from '../kubernetes/connection.ts'
import { listOf, recordOf, textOf } from '../kubernetes/json.ts'
import { listObjects, nameOf, type Watched } from '../kubernetes/watch.ts'
import { EXECUTORS_ANNOTATION } from './labels.ts'
import { pathOf } from './paths.ts'

/** How a run stands, as its driver's job says. */
export type RunState = 'held' | 'waiting' | 'running' | 'completed' | 'failed' | 'going'

/** A run that the cluster has. */
export interface RunSummary {
  readonly name: string
  readonly state: RunState
  readonly executors: number
  readonly createdAt: string
}

/** The runs of a namespace. @throws ClusterError */
export async function listRuns(
  connection: Connection,
  namespace: string,
): Promise<readonly RunSummary[]> {
  const labelSelector = 'app.kubernetes.io/managed-by=cloister,app.kubernetes.io/component=driver'
  const { objects } = await listObjects(connection, pathOf(namespace, 'Job'), { labelSelector })
  return objects.map(summaryOf)
}

function summaryOf(job: Watched): RunSummary {
  const { creationTimestamp } = recordOf(job['metadata'])
  return {
    name: nameOf(job),
    state: stateOf(job),
    executors: executorsOf(job),
    createdAt: textOf(creationTimestamp) ?? '',
  }
}

/** How many executors a run has, as its driver's job says. */
export function executorsOf(job: Watched): number {
  const { annotations } = recordOf(job['metadata'])
  return Number(textOf(recordOf(annotations)[EXECUTORS_ANNOTATION]) ?? 0)
}

/** @see https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/job-v1/#JobStatus */
export function stateOf(job: Watched): RunState {
  const status = recordOf(job['status'])
  const isTrue = (type: string) => conditionOf(job, type)['status'] === 'True'
  if (isTrue('Complete')) return 'completed'
  if (isTrue('Failed')) return 'failed'
  if (recordOf(job['metadata'])['deletionTimestamp'] !== undefined) return 'going'
  if (recordOf(job['spec'])['suspend'] === true) return 'held'
  return Number(status['ready'] ?? 0) > 0 ? 'running' : 'waiting'
}

/** A condition of an object; empty where it has none of that type. */
export function conditionOf(object: Watched, type: string): Readonly<Record<string, unknown>> {
  const { conditions } = recordOf(object['status'])
  return (
    listOf(conditions)
      .map(recordOf)
      .find(condition => condition['type'] === type) ?? {}
  )
}
