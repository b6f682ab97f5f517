import Table from 'cli-table3'

/** Where a command's result goes: one object, printed for people or as JSON. */
export interface Printer {
  /** Prints the command's result. `human` is not called with `--json`. */
  result(value: unknown, human: () => string): void
  /** A line for people on standard error; silent with `--json`. */
  note(line: string): void
}

/** Prints to the process's standard streams. Results on stdout, notes on stderr. */
export function createPrinter(options: { readonly json: boolean }): Printer {
  return {
    result(value, human) {
      const text = options.json ? JSON.stringify(value, jsonValue, 2) : human()
      process.stdout.write(text.endsWith('\n') ? text : `${text}\n`)
    },
    note(line) {
      if (!options.json) process.stderr.write(`${line}\n`)
    },
  }
}

function jsonValue(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString()
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex')
  return value
}

/** A plain table: a head line and rows, without frames. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const plain = new Table({
    head: [...head],
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 2 },
    chars: Object.fromEntries(
      [
        'top',
        'top-mid',
        'top-left',
        'top-right',
        'bottom',
        'bottom-mid',
        'bottom-left',
        'bottom-right',
        'left',
        'left-mid',
        'mid',
        'mid-mid',
        'right',
        'right-mid',
        'middle',
      ].map(name => [name, '']),
    ),
  })
  for (const row of rows) plain.push([...row])
  return plain.toString()
}
