import { randomUUID } from 'node:crypto'
import type { WritableApiServer } from '../kubernetes/writable-api-server.test.support.ts'

// biome-ignore lint/suspicious/noExplicitAny: objects of Kubernetes, validated by its schemas.
type Any = any

/** What controllers and kubelets do in a cluster, of those that tests have. */
export interface Controlled
  extends Pick<WritableApiServer, 'get' | 'setStatus' | 'log' | 'endLog'> {
  /** Makes an object. */
  put(object: Any): void
}

/** Makes the pods of a job, as its controller does. */
export function makePods(server: Controlled, jobName: string): readonly string[] {
  const job = server.get('Job', jobName)
  const { apiVersion, kind, metadata, spec } = job
  const owner = { apiVersion, kind, name: metadata.name, uid: metadata.uid }
  return Array.from({ length: spec.completions }, (_, index) => {
    const name = `${jobName}-${spec.completionMode === 'Indexed' ? `${index}-` : ''}x${index}7k2`
    server.put({
      ...{ apiVersion: 'v1', kind: 'Pod', spec: { ...spec.template.spec } },
      metadata: { name, labels: spec.template.metadata.labels, ownerReferences: [owner] },
      status: { phase: 'Pending' },
    })
    return name
  })
}

/** Says of a pod what its kubelet would. */
export function setPod(server: Controlled, name: string, state: object, more: object = {}): void {
  const { terminated } = state as { readonly terminated?: { readonly exitCode: number } }
  const ended = terminated?.exitCode === 0 ? 'Succeeded' : 'Failed'
  const phase = terminated !== undefined ? ended : 'running' in state ? 'Running' : 'Pending'
  server.setStatus('Pod', name, {
    phase,
    containerStatuses: [{ name: server.get('Pod', name).spec.containers[0].name, state }],
    ...more,
  })
}

/** A driver's container has ended, and who made its pod has seen it. */
export function endDriver(server: Controlled, job: string, pod: string, exitCode: number) {
  server.endLog(pod)
  const reason = exitCode === 0 ? 'Completed' : 'Error'
  setPod(server, pod, { terminated: { exitCode, reason } })
  if (server.get('SparkApplication', job) !== undefined) return reconcile(server, job)
  if (server.get('Job', job) === undefined) return
  const type = exitCode === 0 ? 'Complete' : 'Failed'
  server.setStatus('Job', job, { conditions: [{ type, status: 'True' }] })
}

/**
 * What spark-submit makes of a template, as far as it is looked at here: another name, more labels, an
 * image, and a command line of its own. `spark-submit.test.ts` has the real one.
 */
export function makeSparkPod(
  server: Controlled,
  { metadata, spec }: Any,
  { name, image, labels = {} }: { name: string; image: string; labels?: object },
): string {
  const [container, ...others] = spec.containers
  const args = ['driver', '--properties-file', '/opt/spark/conf/spark.properties']
  const words = [...args, '--class', 'cloister', 'local:///etc/cloister/job.yaml']
  server.put({
    ...{ apiVersion: 'v1', kind: 'Pod' },
    metadata: {
      name,
      labels: { ...metadata.labels, ...labels, 'spark-role': 'driver' },
      ...(metadata.ownerReferences && { ownerReferences: metadata.ownerReferences }),
    },
    spec: { ...spec, containers: [{ ...container, image, args: words }, ...others] },
    status: { phase: 'Pending' },
  })
  return name
}

/**
 * Does with a SparkApplication what the Spark operator's controller does of itself, step by step until
 * nothing is left to do, as its sources have it: one that is suspended is not submitted; a driver's pod
 * that is made of the template has no owner, and what becomes of it becomes the application's state.
 * @param submit - What spark-submit says where it fails
 * @see https://github.com/kubeflow/spark-operator/blob/master/internal/controller/sparkapplication/controller.go
 */
export function reconcile(server: Controlled, name: string, submit?: string): void {
  for (let before = ''; ; ) {
    const { spec, status } = server.get('SparkApplication', name)
    const state: string = status?.applicationState.state ?? ''
    if (before === state && before !== '') return
    before = state
    const next = stepOf(server, name, spec, state, submit)
    if (next === undefined) return
    server.setStatus('SparkApplication', name, {
      driverInfo: { podName: `${name}-driver` },
      applicationState: next,
    })
  }
}

interface ApplicationState {
  readonly state: string
  readonly errorMessage?: string
}

function stepOf(
  server: Controlled,
  name: string,
  spec: Any,
  state: string,
  submit: string | undefined,
): ApplicationState | undefined {
  const before = server.get('SparkApplication', name).status?.applicationState ?? {}
  const isOver = state === 'COMPLETED' || state === 'FAILED'
  if (spec.suspend === true && !isOver && !state.startsWith('SUSPEND')) {
    return { state: 'SUSPENDING' }
  }
  switch (state) {
    case 'SUSPENDING':
      return { state: 'SUSPENDED' }
    case 'SUSPENDED':
      return spec.suspend === true ? undefined : { state: 'RESUMING' }
    case '':
    case 'RESUMING':
      if (submit !== undefined) {
        const errorMessage = `failed to submit spark application: ${submit}`
        return { state: 'SUBMISSION_FAILED', errorMessage }
      }
      makeSparkPod(server, spec.driver.template, {
        ...{ name: `${name}-driver`, image: spec.image },
        labels: {
          ...server.get('SparkApplication', name).metadata.labels,
          'sparkoperator.k8s.io/app-name': name,
          'sparkoperator.k8s.io/launched-by-spark-operator': 'true',
          'sparkoperator.k8s.io/submission-id': randomUUID(),
        },
      })
      return { state: 'SUBMITTED' }
    case 'SUBMISSION_FAILED':
    case 'FAILING':
      return { ...before, state: 'FAILED' }
    case 'SUCCEEDING':
      return { state: 'COMPLETED' }
    case 'SUBMITTED':
    case 'RUNNING':
      return stateByDriver(server.get('Pod', `${name}-driver`))
  }
  return undefined
}

function stateByDriver(pod: Any): ApplicationState {
  if (pod === undefined) return { state: 'FAILING', errorMessage: 'driver pod not found' }
  const { phase, containerStatuses = [] } = pod.status
  if (phase === 'Pending') return { state: 'SUBMITTED' }
  const { terminated } =
    containerStatuses.find((one: Any) => one.name === 'spark-kubernetes-driver')?.state ?? {}
  if (terminated === undefined) {
    return phase === 'Running'
      ? { state: 'RUNNING' }
      : { state: 'FAILING', errorMessage: 'driver container status missing' }
  }
  const { exitCode, reason } = terminated
  const errorMessage = `driver container failed with ExitCode: ${exitCode}, Reason: ${reason}`
  return exitCode === 0 ? { state: 'SUCCEEDING' } : { state: 'FAILING', errorMessage }
}
