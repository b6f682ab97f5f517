import { ClusterError } from '../errors.ts'
import type { Connection } from '../kubernetes/connection.ts'
import { nameOf, type Watched } from '../kubernetes/watch.ts'
import { KIND_OF, listLabelled, noRun, seekRun, uidOf } from './find.ts'
import { labelsOfRole, labelsOfRun, SPARK_ROLE_LABEL } from './labels.ts'
import { pathOf } from './paths.ts'

/** An object and no other that has its name meanwhile. */
interface Exactly {
  readonly name: string
  readonly uid: string
}

/**
 * Removes a run and all that it has in the cluster; its pods are told to end.
 * @param uid - Which run of that name, as {@link submitRun} says; the one that there is unless told
 * @throws ClusterError; `ABSENT` where there is no run of that name
 * @throws RunError OPTION for what names no run
 */
export async function removeRun(
  connection: Connection,
  namespace: string,
  name: string,
  uid?: string,
): Promise<void> {
  const { run, unseen } = await seekRun(connection, namespace, name)
  if (run === undefined) {
    // A SparkApplication that was removed otherwise leaves the pod that was made of it, and what was
    // applied beside it. Where it may be there unseen, nothing of it is touched.
    if (unseen.length === 0 && (await removeLeft(connection, namespace, name))) return
    throw noRun(namespace, name, unseen)
  }
  const { form, object } = run
  if (uid !== undefined && uidOf(object) !== uid) {
    throw new ClusterError('ABSENT', `the run was removed, and there is another ${name}`)
  }
  const kind = KIND_OF[form]
  // What was applied by hand has no owner. What stands for the run goes after it: it can be tried again.
  if (form !== 'job') await removeApplied(connection, namespace, name, kind)
  await removeOwner(connection, namespace, kind, exactly(object))
  // Last: until then the operator may make one. Who owns it, neither it nor spark-submit says.
  if (form !== 'job') await removeDriver(connection, namespace, name)
}

/** What a run by Spark's tools has, beside what they make. */
const APPLIED = ['Job', 'Service', 'NetworkPolicy', 'ServiceAccount', 'ConfigMap'] as const

/** What comes after a run's name in the names of these. */
const ENDINGS = ['', '-driver', '-executor']

/** Removes these, but for one kind. @returns whether there was any */
async function removeApplied(
  connection: Connection,
  namespace: string,
  name: string,
  but?: string,
): Promise<boolean> {
  const names = ENDINGS.map(ending => name + ending)
  let wasAny = false
  for (const kind of APPLIED) {
    if (kind === but) continue
    const labelled = await listLabelled(connection, namespace, kind, labelsOfRun(name))
    // Whoever may label an object of another's must not have it removed.
    const own = labelled.filter(object => names.includes(nameOf(object)))
    if (await removeEach(connection, namespace, kind, own)) wasAny = true
  }
  return wasAny
}

/** Removes what is left of a run that nothing stands for any more. @returns whether there was any */
async function removeLeft(
  connection: Connection,
  namespace: string,
  name: string,
): Promise<boolean> {
  const wasApplied = await removeApplied(connection, namespace, name)
  return (await removeDriver(connection, namespace, name)) || wasApplied
}

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
async function removeDriver(
  connection: Connection,
  namespace: string,
  name: string,
): Promise<boolean> {
  const labels = { ...labelsOfRole(name, 'driver'), [SPARK_ROLE_LABEL]: 'driver' }
  const pods = await listLabelled(connection, namespace, 'Pod', labels)
  return await removeEach(connection, namespace, 'Pod', pods)
}

/** @returns whether there was any */
async function removeEach(
  connection: Connection,
  namespace: string,
  kind: string,
  objects: readonly Watched[],
): Promise<boolean> {
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

const exactly = (object: Watched): Exactly => ({
  name: nameOf(object),
  uid: uidOf(object) ?? '',
})
