import type { Printer } from '../output/printer.ts'

/** One finished step of the demo. */
export interface Step {
  readonly name: string
  readonly seconds: number
}

/** Times the steps of the demo and tells of each as it ends. */
export class Ledger {
  readonly steps: Step[] = []
  readonly #printer: Printer

  constructor(printer: Printer) {
    this.#printer = printer
  }

  /** Runs a step and tells its time and what it came to. */
  async step<T>(name: string, work: () => Promise<T>, outcome?: (value: T) => string): Promise<T> {
    const begun = performance.now()
    const value = await work()
    const seconds = (performance.now() - begun) / 1000
    this.steps.push({ name, seconds })
    const said = outcome === undefined ? '' : `  ${outcome(value)}`
    this.#printer.note(`${seconds.toFixed(2).padStart(7)} s  ${name}${said}`)
    return value
  }

  /** A line without a time. */
  say(line: string): void {
    this.#printer.note(line)
  }
}
