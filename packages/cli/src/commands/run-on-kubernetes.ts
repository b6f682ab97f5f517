import { connect, renderRun, submitRun } from '@cloister/cluster'
import type { ClusterFlags } from '../cluster/flags.ts'
import { followToTheEnd, Interruption } from '../cluster/follow.ts'
import { type PlanFlags, planRun } from '../cluster/plan.ts'
import type { Session } from '../session.ts'
import { UsageError } from '../usage-error.ts'

/** Flags of `cloister run --on k8s`. */
export interface RunOnKubernetesFlags extends ClusterFlags, PlanFlags {
  readonly detach?: true
}

/** Runs a job in pods, and ends as its driver does. @throws UsageError, RunError, ClusterError */
export async function runOnKubernetes(
  session: Session,
  file: string,
  flags: RunOnKubernetesFlags,
): Promise<void> {
  const { plan, job } = await planRun(session, file, flags)
  if (plan.form === 'spark-submit') {
    const message = '--as spark-submit: it is spark-submit that runs the job then'
    throw new UsageError(message, `cloister cluster render ${file} --as spark-submit --out FOLDER`)
  }
  const objects = renderRun(plan)
  const connection = connect(flags)
  const namespace = flags.namespace ?? connection.namespace
  const { name } = plan
  const interruption = new Interruption()
  const ownUid = await submitRun(connection, namespace, objects)
  session.printer.note(`run ${name} in the namespace ${namespace}`)
  const { receipts } = job
  if (flags.detach === true) {
    return session.printer.result({ name, namespace, receipts }, () => name)
  }
  const run = { session, connection, namespace, name, receipts, ownUid }
  await followToTheEnd(run, interruption)
}
