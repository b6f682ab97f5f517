import { PassThrough } from 'node:stream'
import type { InstanceFailure } from '../instance/failure.ts'
import { executorName, type Place } from '../instance/together.ts'
import { LaunchError } from './errors.ts'
import type { LaunchEvent } from './event.ts'
import { type Among, type InstanceOptions, launchInstance, type Prepared } from './instance.ts'

/** An executor's place. */
export type ExecutorPlace = Extract<Place, { readonly role: 'executor' }>

/** How an executor ended. */
export type ExecutorEnd =
  | { readonly how: 'served' }
  /** `refused` is who was so, by itself or by the key service, before its program began. */
  | {
      readonly how: 'refused' | 'lost'
      readonly why: string
      readonly failure?: InstanceFailure
    }

/**
 * After so long another executor takes the place of one that its driver has sent away, if the driver
 * is not at its end: it begins anew, or has sent away whom it could not hear any more.
 */
export const SENT_AWAY_MS = 5000

/** Requires an image that has executors, and a machine that can shut them in. @throws LaunchError */
export function requireExecutors({ image, enclosure }: Prepared): void {
  if (image.manifest.entry.executor === undefined) {
    throw new LaunchError('EXECUTORS', 'the image has no entry.executor: it runs as one instance')
  }
  if (enclosure.confinement === 'none') {
    const why = 'without a sandbox all instances would have one network, the host\u2019s own'
    throw new LaunchError('SANDBOX', `no executors: ${why}`)
  }
}

/** Starts an executor and follows it to its end. What it prints is for people: the output is the driver's. */
export async function runExecutor(
  options: Omit<InstanceOptions, 'among'>,
  prepared: Prepared,
  among: Among & { readonly place: ExecutorPlace },
): Promise<ExecutorEnd> {
  const { stderr = process.stderr } = options
  const name = executorName(among.place.number)
  let hasBegun = false
  const onEvent = (event: LaunchEvent) => {
    if (event.kind === 'step' && event.step === 'program-started') hasBegun = true
    const told = eventOf(name, event)
    if (told !== undefined) options.onEvent(told)
  }
  try {
    const end = await launchInstance(
      {
        ...{ ...options, among, onEvent, passOnSignals: false },
        ...{ stdin: new PassThrough().end(), stdout: stderr, stderr },
      },
      prepared,
    )
    if (end.outcome !== 'failed') return { how: 'served' }
    const { failure } = end
    const { code, message, reasons } = failure
    const why = [`${code}: ${message}`, ...reasons.map(reason => reason.message)].join('; ')
    return { how: hasBegun ? 'lost' : 'refused', why, failure }
  } catch (error) {
    const why = error instanceof Error ? error.message : 'it could not be started'
    return { how: 'lost', why }
  }
}

function eventOf(name: string, event: LaunchEvent): LaunchEvent | undefined {
  switch (event.kind) {
    case 'step':
      return { kind: 'executor', name, step: event.step }
    case 'started':
      return { kind: 'executor', name, pid: event.pid }
    case 'warning':
      return { ...event, message: `${name}: ${event.message}` }
    default:
      return undefined
  }
}
