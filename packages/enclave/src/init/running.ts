import type { Socket } from 'node:net'
import type { Tee } from '@cloister/attestation'
import type { AttestedSession, ReleasedKeys } from '@cloister/kms'
import type { Dek, ManifestPart } from '@cloister/sealed'
import type { InstanceLayout } from '../instance/layout.ts'
import type { OpenedInput } from './inputs.ts'
import type { Assignment } from './job.ts'
import type { PlannedOutput } from './outputs.ts'
import type { ProgramPlan, RunningProgram } from './program.ts'

/** A job under way, as the ways in which programs work see it. */
export interface Run {
  readonly layout: InstanceLayout
  readonly assignment: Assignment
  readonly tee: Tee
  readonly planned: readonly PlannedOutput[]
  readonly plan: ProgramPlan
  /** Gives up what the program is not to have, right before it starts. */
  readonly beforeProgram: () => Promise<void>
  /** Given the program, so that it can be ended with the instance. */
  readonly onProgram: (program: RunningProgram) => void
  /** Connects this instance with the others of its run. */
  readonly openMesh: (secret: Dek, onKeys?: (socket: Socket, from: string) => void) => Promise<void>
  /** Tells the launcher that executors of this run may be started. */
  readonly tellRun: (runId: string) => Promise<void>
  /**
   * Has the program take init's place, where it runs in no other way: what is left to do is the
   * next init's. Ends in no way but by @throws InstanceError PROGRAM
   */
  readonly giveWay: ((opened: Opened) => Promise<never>) | undefined
  /** Ends what the program left running, right after its own end. */
  readonly afterProgram: () => Promise<void>
}

/** What the key service gave, and what was opened with it. */
export interface Opened {
  readonly session: AttestedSession
  readonly released: ReleasedKeys
  readonly inputs: readonly OpenedInput[]
  /** The run that this driver begins, where the job runs as several instances. */
  readonly together: DriversRun | undefined
}

/** What of it is needed once the program has ended. */
export interface Ending {
  readonly session: AttestedSession
  readonly released: Pick<ReleasedKeys, 'outputs' | 'heads'>
  readonly inputs: readonly Pick<OpenedInput, 'name' | 'head'>[]
}

/** A run of several instances. */
export interface DriversRun {
  readonly runId: string
  readonly executors: number
  /** At which instances reach each other. */
  readonly ports: readonly number[]
  readonly secret: Dek
}

/** What a program's work came to: sealed files, whole, not yet under their names. */
export interface Worked {
  /** By the output's name. */
  readonly parts: ReadonlyMap<string, readonly ManifestPart[]>
  /** Named numbers about the run, which the receipt states. */
  readonly statistics: Readonly<Record<string, number>>
}
