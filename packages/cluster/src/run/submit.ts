import { ClusterError } from '../errors.ts'
import type { Connection } from '../kubernetes/connection.ts'
import { recordOf, textOf } from '../kubernetes/json.ts'
import { RUN_LABEL } from './labels.ts'
import type { Rendered, RunObjects } from './objects.ts'
import { pathOf } from './paths.ts'

/** Refused rather than dropped: fields that the cluster does not know. */
const STRICT = { fieldValidation: 'Strict' } as const

/**
 * Makes a run's objects. The driver's job comes first, and is held until the others are there; they
 * are its own, and go when it goes. Where one is refused, all that was made is removed again.
 * @throws ClusterError; `EXISTS` where there is a run of that name
 */
export async function submitRun(
  connection: Connection,
  namespace: string,
  { driver, others }: RunObjects,
): Promise<void> {
  const held = { ...driver, spec: { ...recordOf(specOf(driver)), suspend: true } }
  const uid = await create(connection, namespace, held)
  const { apiVersion, kind } = driver
  const { name } = driver.metadata
  try {
    const owner = { apiVersion, kind, name, uid, controller: false, blockOwnerDeletion: false }
    for (const object of others) {
      const metadata = { ...object.metadata, ownerReferences: [owner] }
      await create(connection, namespace, { ...object, metadata })
    }
    const path = pathOf(namespace, 'Job', name)
    const body = { metadata: { uid }, spec: { suspend: false } }
    await connection.ask({ method: 'PATCH', path, query: STRICT, body })
  } catch (error) {
    await removeJob(connection, namespace, name, uid).catch(() => undefined)
    throw error
  }
}

const specOf = (object: Rendered): unknown => (object as Rendered & { spec?: unknown }).spec

/** @returns the uid that it was given */
async function create(connection: Connection, namespace: string, body: Rendered): Promise<string> {
  const path = pathOf(namespace, body.kind)
  const made = await connection.ask({ method: 'POST', path, query: STRICT, body })
  const uid = textOf(recordOf(recordOf(made)['metadata'])['uid'])
  if (uid !== undefined) return uid
  throw new ClusterError('ANSWER', `wanted the new ${body.kind} with its uid, saw none`)
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
  const { metadata } = recordOf(await readRun(connection, namespace, name))
  const uid = textOf(recordOf(metadata)['uid']) ?? ''
  await removeJob(connection, namespace, name, uid)
}

/** The driver's job of a run. @throws ClusterError `ABSENT` where there is no run of that name */
export async function readRun(
  connection: Connection,
  namespace: string,
  name: string,
): Promise<unknown> {
  const job = await connection.ask({ method: 'GET', path: pathOf(namespace, 'Job', name) })
  const labels = recordOf(recordOf(recordOf(job)['metadata'])['labels'])
  if (labels[RUN_LABEL] === name && labels['app.kubernetes.io/component'] === 'driver') return job
  throw new ClusterError('ABSENT', `the job ${name} of the namespace ${namespace} is no run`)
}

async function removeJob(
  connection: Connection,
  namespace: string,
  name: string,
  uid: string,
): Promise<void> {
  const body = { propagationPolicy: 'Background', preconditions: { uid } }
  const path = pathOf(namespace, 'Job', name)
  await connection.ask({ method: 'DELETE', path, body })
}
