import { listOf, recordOf, textOf, wholeOf } from '../kubernetes/json.ts'
import { nameOf, type Watched } from '../kubernetes/watch.ts'
import { uidOf } from './find.ts'
import type { Role } from './labels.ts'
import { conditionOf } from './list.ts'
import { CONTAINER, SPARK_CONTAINER } from './template.ts'

/** Something that keeps a pod from its work, or ended it. */
export interface Trouble {
  readonly code:
    | 'UNSCHEDULABLE'
    | 'IMAGE'
    | 'CONTAINER'
    | 'PODS'
    | 'EVICTED'
    | 'MEMORY'
    | 'EXECUTOR'
    | 'OPERATOR'
    | 'NO_DRIVER'
    | 'LOG'
    | 'EVENTS'
  readonly message: string
}

/** How a container ended. */
export interface Termination {
  readonly exitCode: number
  readonly reason: string
}

/** A pod of a run, as the cluster says it is. */
export interface RunPod {
  readonly name: string
  readonly uid: string | undefined
  /** Whether it is being taken away. */
  readonly isGoing: boolean
  readonly role: Role | undefined
  /** The one that has the command. */
  readonly container: string
  readonly node: string | undefined
  readonly phase: string
  readonly isRunning: boolean
  /** How the container of the command ended; undefined where it has not. */
  readonly ended: Termination | undefined
  /** How a container before it failed. */
  readonly failedBefore: string | undefined
  readonly troubles: readonly Trouble[]
}

const PULLS = ['ErrImagePull', 'ImagePullBackOff', 'InvalidImageName', 'ErrImageNeverPull']
const STARTS = ['CreateContainerConfigError', 'CreateContainerError', 'RunContainerError']

/** Reads a pod. What it says may be anything: it is a cluster's word. */
export function runPodFrom(pod: Watched): RunPod {
  const name = nameOf(pod)
  const status = recordOf(pod['status'])
  const before = statusesOf(status['initContainerStatuses'])
  const container = containerOf(pod)
  const own = statusesOf(status['containerStatuses']).filter(({ name }) => name === container)
  const component = recordOf(recordOf(pod['metadata'])['labels'])['app.kubernetes.io/component']
  const role = component === 'driver' || component === 'executor' ? component : undefined
  const failed = before.find(({ ended }) => ended !== undefined && ended.exitCode !== 0)
  const ended = own[0]?.ended
  return {
    ...{ name, role, container, ended },
    uid: uidOf(pod),
    isGoing: recordOf(pod['metadata'])['deletionTimestamp'] !== undefined,
    node: textOf(recordOf(pod['spec'])['nodeName']),
    phase: textOf(status['phase']) ?? '',
    isRunning: own[0]?.isRunning === true,
    failedBefore:
      failed === undefined
        ? undefined
        : `${failed.name} ended with ${failed.ended?.exitCode} (${failed.ended?.reason})`,
    troubles: [
      ...unscheduled(pod, name),
      ...[...before, ...own].flatMap(({ waiting }) => waitingTrouble(name, waiting)),
      ...evicted(pod, status, name),
      ...(ended === undefined ? [] : endTrouble(name, role, ended)),
    ],
  }
}

function containerOf(pod: Watched): string {
  const all = listOf(recordOf(pod['spec'])['containers']).map(one => recordOf(one)['name'])
  return all.includes(SPARK_CONTAINER) ? SPARK_CONTAINER : CONTAINER
}

interface ContainerStatus {
  readonly name: string
  readonly isRunning: boolean
  readonly waiting: Readonly<Record<string, unknown>>
  readonly ended: Termination | undefined
}

function statusesOf(value: unknown): readonly ContainerStatus[] {
  return listOf(value)
    .map(recordOf)
    .map(status => {
      const { running, terminated, waiting } = recordOf(status['state'])
      const exitCode = wholeOf(recordOf(terminated)['exitCode'])
      return {
        name: textOf(status['name']) ?? '',
        isRunning: running !== undefined,
        waiting: recordOf(waiting),
        ended:
          exitCode === undefined
            ? undefined
            : { exitCode, reason: textOf(recordOf(terminated)['reason']) ?? 'no reason given' },
      }
    })
}

function unscheduled(pod: Watched, name: string): readonly Trouble[] {
  const { status, reason, message } = conditionOf(pod, 'PodScheduled')
  if (status !== 'False') return []
  const why = textOf(message) ?? textOf(reason) ?? 'no reason given'
  return [{ code: 'UNSCHEDULABLE', message: `${name} has no machine: ${why}` }]
}

function waitingTrouble(
  name: string,
  { reason, message }: Readonly<Record<string, unknown>>,
): readonly Trouble[] {
  const why = textOf(reason) ?? ''
  const code = PULLS.includes(why) ? 'IMAGE' : STARTS.includes(why) ? 'CONTAINER' : undefined
  if (code === undefined) return []
  return [{ code, message: `${name}: ${why}: ${textOf(message) ?? 'no reason given'}` }]
}

/** @see https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions */
function evicted(
  pod: Watched,
  { reason, message }: Readonly<Record<string, unknown>>,
  name: string,
): readonly Trouble[] {
  if (textOf(reason) === 'Evicted') {
    return [{ code: 'EVICTED', message: `${name}: evicted: ${textOf(message) ?? ''}` }]
  }
  const disruption = conditionOf(pod, 'DisruptionTarget')
  if (disruption['status'] !== 'True') return []
  const why = textOf(disruption['message']) ?? textOf(disruption['reason']) ?? ''
  return [{ code: 'EVICTED', message: `${name} is taken off its machine: ${why}` }]
}

function endTrouble(
  name: string,
  role: Role | undefined,
  { exitCode, reason }: Termination,
): readonly Trouble[] {
  if (reason === 'OOMKilled') {
    return [{ code: 'MEMORY', message: `${name} used more memory than its pod may` }]
  }
  if (role !== 'executor' || exitCode === 0) return []
  return [{ code: 'EXECUTOR', message: `${name} ended with ${exitCode} (${reason})` }]
}
