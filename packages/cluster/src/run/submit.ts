import { ClusterError } from '../errors.ts'
import type { Connection } from '../kubernetes/connection.ts'
import { recordOf, textOf } from '../kubernetes/json.ts'
import type { Rendered, RunObjects } from './objects.ts'
import { GROUP_OF_OPERATOR, pathOf } from './paths.ts'
import { removeOwner } from './remove.ts'

/** Refused rather than dropped: fields that the cluster does not know. */
const STRICT = { fieldValidation: 'Strict' } as const

/**
 * Makes a run's objects. What its driver is made of, a Job or a SparkApplication, comes first, and is
 * held until the others are there; they are its own, and go when it goes. Where one is refused, all
 * that was made is removed again; where that is refused, too, or nobody says what was made, it says so.
 * @returns the uid of the first, by which this run is told from others of its name
 * @throws ClusterError; `EXISTS` where there is a run of that name
 */
export async function submitRun(
  connection: Connection,
  namespace: string,
  { driver, others }: RunObjects,
): Promise<string> {
  const { apiVersion, kind } = driver
  const { name } = driver.metadata
  const held = { ...driver, spec: { ...recordOf(specOf(driver)), suspend: true } }
  const uid = await create(connection, namespace, held).catch(async (error: unknown) => {
    // It may have been made, and the answer lost: without its uid it is nobody's to remove.
    if (isUnanswered(error)) throw left(error, namespace, name)
    throw kind === 'SparkApplication' ? await byOperator(connection, error) : error
  })
  try {
    const owner = { apiVersion, kind, name, uid, controller: false, blockOwnerDeletion: false }
    for (const object of others) {
      const metadata = { ...object.metadata, ownerReferences: [owner] }
      await create(connection, namespace, { ...object, metadata })
    }
    const path = pathOf(namespace, kind, name)
    const body = { metadata: { uid }, spec: { suspend: false } }
    await connection.ask({ method: 'PATCH', path, query: STRICT, body })
    return uid
  } catch (error) {
    const isGone = removeOwner(connection, namespace, kind, { name, uid }).then(() => true)
    if (await isGone.catch(() => false)) throw error
    throw left(error, namespace, name)
  }
}

const specOf = (object: Rendered): unknown => (object as Rendered & { spec?: unknown }).spec

/** Whether nobody said what became of a change. */
const isUnanswered = (error: unknown) =>
  error instanceof ClusterError && error.code === 'UNREACHABLE'

/** Of one that is held, nothing begins and nothing goes; one that nobody answered for may be so. */
function left(error: unknown, namespace: string, name: string): unknown {
  if (!(error instanceof ClusterError)) return error
  const how = isUnanswered(error) ? 'may be there all the same' : 'is left there, held'
  const nextStep = `cloister cluster remove ${name} --namespace ${namespace}`
  const message = `${error.message}; the run ${name} ${how}: ${nextStep}`
  return new ClusterError(error.code, message, { cause: error })
}

/** Absent is the kind, of which the cluster says nothing but that, or the namespace. */
async function byOperator(connection: Connection, error: unknown): Promise<unknown> {
  if (!(error instanceof ClusterError) || error.code !== 'ABSENT') return error
  const path = GROUP_OF_OPERATOR
  const isThere = await connection.ask({ method: 'GET', path }).catch(() => undefined)
  if (isThere !== undefined) return error
  const message =
    'the cluster has no SparkApplications: is the Spark operator installed? --as job needs none'
  return new ClusterError('ABSENT', message, { cause: error })
}

/** @returns the uid that it was given */
async function create(connection: Connection, namespace: string, body: Rendered): Promise<string> {
  const path = pathOf(namespace, body.kind)
  const made = await connection.ask({ method: 'POST', path, query: STRICT, body })
  const uid = textOf(recordOf(recordOf(made)['metadata'])['uid'])
  if (uid !== undefined) return uid
  throw new ClusterError('ANSWER', `wanted the new ${body.kind} with its uid, saw none`)
}
