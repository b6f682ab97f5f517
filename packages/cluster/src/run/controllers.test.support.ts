import type { WritableApiServer } from '../kubernetes/writable-api-server.test.support.ts'

/** Makes the pods of a job, as its controller does. */
export function makePods(server: WritableApiServer, jobName: string): readonly string[] {
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
export function setPod(
  server: WritableApiServer,
  name: string,
  state: object,
  more: object = {},
): void {
  const phase = 'terminated' in state ? 'Failed' : 'running' in state ? 'Running' : 'Pending'
  server.setStatus('Pod', name, {
    phase,
    containerStatuses: [{ name: 'cloister', state }],
    ...more,
  })
}

/** A driver's container has ended, and its job's controller has seen it. */
export function endDriver(server: WritableApiServer, job: string, pod: string, exitCode: number) {
  server.endLog(pod)
  const reason = exitCode === 0 ? 'Completed' : 'Error'
  setPod(server, pod, { terminated: { exitCode, reason } })
  const type = exitCode === 0 ? 'Complete' : 'Failed'
  server.setStatus('Job', job, { conditions: [{ type, status: 'True' }] })
}
