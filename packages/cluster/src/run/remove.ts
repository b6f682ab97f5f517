import { ClusterError } from '../errors.ts'
import type { Connection } from '../kubernetes/connection.ts'
import { recordOf, textOf } from '../kubernetes/json.ts'
import { listObjects, nameOf, type Watched } from '../kubernetes/watch.ts'
import { type FoundRun, findRun, KIND_OF } from './find.ts'
import { RUN_LABEL, SPARK_ROLE_LABEL } from './labels.ts'
import { pathOf } from './paths.ts'

/** An object and no other that has its name meanwhile. */
interface Exactly {
  readonly name: string
  readonly uid: string
}

/**
 * Removes a run and all that it has in the cluster; its pods are told to end.
 * @throws ClusterError; `ABSENT` where there is no run of that name
 */
export async function removeRun(
  connection: Connection,
  namespace: string,
  name: string,
): Promise<void> {
  let found: FoundRun
  try {
    found = await findRun(connection, namespace, name)
  } catch (error) {
    // A SparkApplication that was removed otherwise may have left the pod that was made of it.
    if (isAbsent(error) && (await removeDriver(connection, namespace, name))) return
    throw error
  }
  const { form, object } = found
  const kind = KIND_OF[form]
  // What was applied by hand has no owner. What stands for the run goes after it: it can be tried again.
  for (const other of form === 'job' ? [] : APPLIED) {
    if (other !== kind) await removeLabelled(connection, namespace, other, name)
  }
  await removeOwner(connection, namespace, kind, exactly(object))
  // Last: until then the operator may make one. Who owns it, neither it nor spark-submit says.
  if (form !== 'job') await removeDriver(connection, namespace, name)
}

/** What a run by Spark's tools has, beside what they make. */
const APPLIED = ['Job', 'Service', 'NetworkPolicy', 'ServiceAccount', 'ConfigMap'] as const

/** Removes an object, and what it owns. @throws ClusterError */
export async function removeOwner(
  connection: Connection,
  namespace: string,
  kind: string,
  { name, uid }: Exactly,
): Promise<void> {
  const body = { propagationPolicy: 'Background', preconditions: { uid } }
  const path = pathOf(namespace, kind, name)
  await connection.ask({ method: 'DELETE', path, body })
}

/** Removes the driver's pod that Spark made; Spark's own objects go with it. */
const removeDriver = (connection: Connection, namespace: string, name: string) =>
  removeLabelled(connection, namespace, 'Pod', name, `${SPARK_ROLE_LABEL}=driver`)

/** Removes what bears a run's name. @returns whether there was any */
async function removeLabelled(
  connection: Connection,
  namespace: string,
  kind: string,
  name: string,
  ...more: readonly string[]
): Promise<boolean> {
  const labelSelector = [`${RUN_LABEL}=${name}`, ...more].join(',')
  const { objects } = await listObjects(connection, pathOf(namespace, kind), { labelSelector })
  for (const object of objects) {
    try {
      await removeOwner(connection, namespace, kind, exactly(object))
    } catch (error) {
      if (!isAbsent(error)) throw error
    }
  }
  return objects.length > 0
}

const isAbsent = (error: unknown) => error instanceof ClusterError && error.code === 'ABSENT'

function exactly(object: Watched): Exactly {
  const uid = textOf(recordOf(object['metadata'])['uid'])
  return { name: nameOf(object), uid: uid ?? '' }
}
