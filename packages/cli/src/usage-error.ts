/** Something in the command line, or in a file it names, that the person can put right. */
export class UsageError extends Error {
  /** What to do next, in one sentence. */
  readonly nextStep: string

  /**
   * @param message - What was wanted and what was seen.
   * @param nextStep - What to do next, in one sentence.
   */
  constructor(message: string, nextStep: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'UsageError'
    this.nextStep = nextStep
  }
}
