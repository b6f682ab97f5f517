import type { InstanceFailure } from '@cloister/enclave'

/** An instance refused to run, gave up, or was refused its keys. */
export class InstanceRefusal extends Error {
  /** Stable, for programs. */
  readonly code: string
  readonly reasons: InstanceFailure['reasons']

  /** What the program said, where nobody was shown it. */
  readonly output: string | undefined

  /** What the program itself ended with, where that is what the command is to end with. */
  readonly exitCode: number | undefined

  constructor(failure: InstanceFailure, { output, exitCode }: ProgramWords = {}) {
    super(`${failure.where}: ${failure.message}`)
    // The class inside decides the exit code, as if it had been thrown here.
    this.name = failure.where
    this.code = failure.code
    this.reasons = failure.reasons
    this.output = output
    this.exitCode = exitCode
  }
}

/** What a program said, and what it ended with. */
interface ProgramWords {
  readonly output?: string | undefined
  readonly exitCode?: number | undefined
}

/** Makes an error of what an instance said. */
export function refusalOf(failure: InstanceFailure, words?: ProgramWords): InstanceRefusal {
  return new InstanceRefusal(failure, words)
}
