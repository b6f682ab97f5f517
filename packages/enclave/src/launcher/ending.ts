import { once } from 'node:events'
import type { Writable } from 'node:stream'
import type { InstanceFailure } from '../instance/failure.ts'
import { FrameReader } from '../instance/frame.ts'
import { type InstanceStatus, parseStatus } from '../instance/status.ts'
import { LaunchError } from './errors.ts'
import type { LaunchEvent } from './event.ts'
import type { StartedInstance } from './start.ts'

/** How an instance ended. */
export type InstanceEnd = {
  /** 0; the program's own; 128 and the signal's number; or 70 when init refused or gave up. */
  readonly exitCode: number
} & (
  | {
      readonly outcome: 'completed'
      /** Compact JWS; a copy lies in each output's folder. */
      readonly receipt: string
    }
  | {
      readonly outcome: 'failed'
      readonly failure: InstanceFailure
      /** Signal that ended the program, if one did. */
      readonly signal: string | null
    }
)

/** How an executor ended whose driver needs it no more. */
export type ServedEnd = { readonly outcome: 'served'; readonly exitCode: 0 }

/** An instance to be followed, however it has itself quoted. */
export type WatchedInstance = Omit<StartedInstance, 'quotes'>

/** Who watches an instance, and may end it. */
export interface Watching {
  readonly onEvent: (event: LaunchEvent) => void
  readonly signal?: AbortSignal
  readonly stdout?: Writable
  readonly stderr?: Writable
}

/**
 * Follows an instance to its end.
 * @throws LaunchError `STATUS` when it did not say how it ended, `ABORTED` when it was called off
 */
export async function endOf(
  started: WatchedInstance,
  options: Watching,
): Promise<InstanceEnd | ServedEnd> {
  const { onEvent, signal } = options
  const { process: child } = started
  child.stdout?.pipe(options.stdout ?? process.stdout, { end: false })
  const complaints = collect(child.stderr)
  child.stderr?.pipe(options.stderr ?? process.stderr, { end: false })
  const abort = () => started.kill()
  signal?.addEventListener('abort', abort, { once: true })
  let last: InstanceStatus | undefined
  readStatus(started, status => {
    const isUnderWay = status.kind === 'step' || status.kind === 'warning' || status.kind === 'run'
    if (isUnderWay) onEvent(status)
    else last = status
  })
  started.pid.then(
    pid => onEvent({ kind: 'started', pid }),
    () => {},
  )
  try {
    if (signal?.aborted) abort()
    // Output that nobody closes any more must not keep the end from being seen.
    child.once('exit', () => started.kill())
    const [code, killedBy] = (await once(child, 'close')) as [number | null, string | null]
    requireNotAborted(signal)
    if (last?.kind === 'done' && code === 0) {
      return { outcome: 'completed', receipt: last.receipt, exitCode: 0 }
    }
    if (last?.kind === 'served' && code === 0) return { outcome: 'served', exitCode: 0 }
    if (last?.kind === 'failed') {
      const { failure, exitCode } = last
      return { outcome: 'failed', failure, signal: last.signal, exitCode }
    }
    const how = killedBy === null ? `with code ${code}` : `by ${killedBy}`
    const said = complaints().trim()
    const detail = said === '' ? '' : `; it said: ${said}`
    const cause = await started.pid.then(
      () => undefined,
      (reason: unknown) => reason,
    )
    const why = cause instanceof Error ? `; ${cause.message}` : ''
    const message = `the instance ended ${how} and did not say why${detail}${why}`
    throw new LaunchError('STATUS', message, { cause })
  } finally {
    signal?.removeEventListener('abort', abort)
    started.kill()
    started.status.destroy()
  }
}

/** Reads what the instance tells; a message that is none is passed over. */
function readStatus({ status }: WatchedInstance, onStatus: (status: InstanceStatus) => void): void {
  const reader = new FrameReader()
  status.on('data', (bytes: Buffer) => {
    try {
      for (const message of reader.push(bytes)) {
        const parsed = parseStatus(message)
        if (parsed !== undefined) onStatus(parsed)
      }
    } catch {
      status.destroy()
    }
  })
  status.on('error', () => {})
}

const MAX_COMPLAINTS = 2000

/** The first of what an instance writes to its error output, for when it says nothing else. */
function collect(stream: NodeJS.ReadableStream | null): () => string {
  let text = ''
  stream?.on('data', (bytes: Buffer) => {
    if (text.length < MAX_COMPLAINTS) text += bytes.toString('utf8')
  })
  return () => text.slice(0, MAX_COMPLAINTS)
}

/** An end that is its job's too. @throws LaunchError `STATUS` for that of an executor */
export function requireJobsEnd(end: InstanceEnd | ServedEnd): InstanceEnd {
  if (end.outcome !== 'served') return end
  throw new LaunchError('STATUS', 'the instance says that it was an executor')
}

/** @throws LaunchError `ABORTED` */
export function requireNotAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new LaunchError('ABORTED', 'the launch was called off')
}
