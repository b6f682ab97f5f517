import type { Serializable } from 'node:child_process'
import type { Mounts } from '../definition/mounts.ts'
import { InstanceError } from '../instance/failure.ts'
import type { InstanceLayout } from '../instance/layout.ts'
import { startProcess } from './child.ts'
import { startInOwnProcess } from './own-process.ts'

/** What the program ended with. */
export interface ProgramEnd {
  readonly exitCode: number | null
  readonly signal: NodeJS.Signals | null
}

/** Thrown when the program ended without having done its job; its end becomes the instance's. */
export class ProgramError extends InstanceError {
  readonly end: ProgramEnd

  constructor(message: string, end: ProgramEnd) {
    super('PROGRAM', message)
    this.end = end
  }
}

/** A program to be started; its arguments and environment are measured or in the job, and no secret. */
export interface ProgramPlan {
  readonly argv: readonly string[]
  readonly environment: Readonly<Record<string, string>>
  readonly mounts: Mounts
  readonly layout: InstanceLayout
  /** Whether it is a thread of init's process; elsewhere it has a process of its own. */
  readonly inThread: boolean
  readonly asAnotherUser: boolean
  /** Whether it reads what the host writes to the instance. */
  readonly standardInput: boolean
}

/** A program that was started. */
export interface RunningProgram {
  /** Undefined where it has no process of its own, or did not start. */
  readonly pid: number | undefined
  /** How it ended, after its last message and its last output. @throws InstanceError PROGRAM */
  readonly end: Promise<ProgramEnd>
  kill(signal: NodeJS.Signals): void
  send(message: Serializable): void
  onMessage(listener: (message: unknown) => void): void
}

/** @param channel - `ipc` where it speaks with init. */
export function startProgram(plan: ProgramPlan, channel: 'ipc' | 'none'): RunningProgram {
  return plan.inThread ? startInOwnProcess(plan, channel) : startProcess(plan, channel)
}

/** @throws ProgramError unless the program ended with 0 */
export function requireGoodEnd(end: ProgramEnd): void {
  if (end.exitCode === 0) return
  const how = end.signal === null ? `ended with ${end.exitCode}` : `was ended by ${end.signal}`
  throw new ProgramError(`the program ${how}`, end)
}
