import type { InstanceFailure } from '@cloister/enclave'

/** An instance refused to run, gave up, or was refused its keys. */
export class InstanceRefusal extends Error {
  /** Stable, for programs. */
  readonly code: string
  readonly reasons: InstanceFailure['reasons']

  constructor(failure: InstanceFailure) {
    super(`${failure.where}: ${failure.message}`)
    // The class inside decides the exit code, as if it had been thrown here.
    this.name = failure.where
    this.code = failure.code
    this.reasons = failure.reasons
  }
}

/** Makes an error of what an instance said. */
export function refusalOf(failure: InstanceFailure): InstanceRefusal {
  return new InstanceRefusal(failure)
}
