import { constants } from 'node:os'
import {
  ClusterError,
  type Connection,
  followRun,
  type RunEvent,
  removeRun,
  type Trouble,
} from '@cloister/cluster'
import { Collected } from '../output/collected.ts'
import { EXIT } from '../output/exit-codes.ts'
import { printable } from '../output/printable.ts'
import type { Session } from '../session.ts'

/** A run that is followed to its end. */
export interface FollowedRun {
  readonly session: Session
  readonly connection: Connection
  readonly namespace: string
  readonly name: string
  /**
   * Of an own run, which of that name it is: it is removed when it has ended, or is interrupted. Another
   * goes on.
   */
  readonly ownUid?: string
  /** Where its receipts are, in the claim; undefined where nobody here has its job file. */
  readonly receipts?: readonly string[]
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/** Tells when the person wants to stop. A second signal ends the process at once. */
export class Interruption {
  readonly #aborted = new AbortController()
  #by: (typeof SIGNALS)[number] | undefined

  constructor() {
    for (const signal of SIGNALS) {
      process.on(signal, () => {
        if (this.#by !== undefined) process.exit(EXIT.cutShort)
        this.#by = signal
        this.#aborted.abort()
      })
    }
  }

  get signal(): AbortSignal {
    return this.#aborted.signal
  }

  /** What the process is to end with, by which shells tell signals. */
  get exitCode(): number {
    return 128 + constants.signals[this.#by ?? 'SIGINT']
  }
}

/**
 * Follows a run, shows its driver's log, and ends as the driver did. An own run is removed then, and
 * when the person interrupts; another goes on.
 * @throws RunError, ClusterError
 */
export async function followToTheEnd(run: FollowedRun, interruption: Interruption): Promise<void> {
  const { connection, name, namespace, ownUid, session } = run
  const isOwn = ownUid !== undefined
  const { json, printer } = session
  const said = new Collected()
  let hasEnded = false
  try {
    hasEnded = await followRun({
      ...{ connection, name, namespace, signal: interruption.signal },
      ...(ownUid === undefined ? {} : { uid: ownUid }),
      onEvent: event => printer.note(textOf(event)),
      onLog: line => {
        if (json) said.write(`${line}\n`)
        else process.stdout.write(`${printable(line)}\n`)
      },
    })
  } catch (error) {
    // Whoever cannot be reached cannot be told to remove anything: the run may go on.
    if (isOwn && !(error instanceof ClusterError)) await removeQuietly(run)
    else printer.note(`the run may go on: cloister cluster watch ${name}`)
    throw error
  }
  if (!hasEnded) {
    process.exitCode = interruption.exitCode
    if (!isOwn) return printer.note(`the run goes on: cloister cluster watch ${name}`)
    printer.note('removing the run; once more ctrl-c leaves it to the cluster')
    return await removeRun(connection, namespace, name, ownUid)
  }
  if (isOwn) await removeQuietly(run)
  const { receipts } = run
  const output = json ? said.text() : undefined
  const result = { outcome: 'completed', name, namespace, receipts, output }
  if (json) return printer.result(result, () => '')
  // Whoever runs the cluster may say so of anything.
  const where = receipts?.join(', ') || 'the receipt in the output'
  printer.note(`done, as the cluster says; what vouches for it is ${where}`)
}

async function removeQuietly(run: FollowedRun): Promise<void> {
  const { connection, name, namespace, ownUid, session } = run
  try {
    await removeRun(connection, namespace, name, ownUid)
  } catch (error) {
    if (!(error instanceof ClusterError)) throw error
    if (error.code === 'ABSENT') return
    session.printer.note(`not removed (${error.message}): cloister cluster remove ${name}`)
  }
}

function textOf(event: RunEvent): string {
  switch (event.kind) {
    case 'pod':
      return `${event.pod} ${event.state}`
    case 'trouble':
      return `${event.message}\n  next: ${NEXT_STEPS[event.code]}`
    case 'away':
      return `${event.message}; the run goes on, and is looked for`
    case 'back':
      return 'the cluster answers again'
  }
}

const NEXT_STEPS: Readonly<Record<Trouble['code'], string>> = {
  UNSCHEDULABLE:
    'cloister cluster doctor says what machines offer; else wait, ask for less, or look at the claim and the templates',
  IMAGE: 'is --pod-image there, and may the cluster pull it? imagePullSecrets go into a template',
  CONTAINER: 'kubectl describe pod says what the machine lacks',
  PODS: 'what the namespace forbids, or has used up: docs/kubernetes.md says what pods need',
  EVICTED: 'run it again, on machines that are not about to go or are less full',
  MEMORY: 'give more: --memory-mib',
  OPERATOR:
    'kubectl describe sparkapplication, and the operator’s log, say more; then run it again',
  NO_DRIVER:
    'a queue may hold it, or whoever was ended while beginning it: cloister cluster remove, and run it again; else: does the Spark operator run, and look at this namespace? was spark-submit called?',
  EXECUTOR: 'kubectl logs shows why; one that was lost is replaced, one that was refused is not',
  LOG: 'it is tried again; kubectl logs shows it too',
  EVENTS: 'only why a job gets no pods is not told; docs/kubernetes.md has the permissions',
}
