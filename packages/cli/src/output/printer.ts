import { printable } from './printable.ts'

/** Where a command's result goes: one object, printed for people or as JSON. */
export interface Printer {
  /** Prints the command's result. `human` is not called with `--json`. */
  result(value: unknown, human: () => string): void
  /** Prints bytes as they are; with `--json` the value. */
  bytes(value: unknown, bytes: Uint8Array): void
  /** A line for people on standard error, whoever its words are from; silent with `--json`. */
  note(line: string): void
}

/** Prints to the process's standard streams. Results on stdout, notes on stderr. */
export function createPrinter(options: { readonly json: boolean }): Printer {
  return {
    result(value, human) {
      const text = options.json ? JSON.stringify(value, jsonValue, 2) : human()
      process.stdout.write(text.endsWith('\n') ? text : `${text}\n`)
    },
    bytes(value, bytes) {
      if (options.json) this.result(value, () => '')
      else process.stdout.write(bytes)
    },
    note(line) {
      if (!options.json) process.stderr.write(`${printable(line)}\n`)
    },
  }
}

function jsonValue(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString()
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex')
  return value
}
