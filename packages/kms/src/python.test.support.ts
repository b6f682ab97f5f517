import { type SpawnOptions, spawn } from 'node:child_process'

/** How a process in Python ended, and all that it said. */
export interface PythonEnded {
  readonly code: number | null
  readonly said: string
}

/** Runs Python to its end. */
export async function runPython(
  argv: readonly string[],
  { python = 'python3', ...options }: Pick<SpawnOptions, 'cwd' | 'env'> & { python?: string },
): Promise<PythonEnded> {
  const child = spawn(python, ['-B', ...argv], { ...options, stdio: ['ignore', 'pipe', 'pipe'] })
  const said: string[] = []
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => said.push(text))
  }
  const code = await new Promise<number | null>(resolve => child.once('close', resolve))
  return { code, said: said.join('') }
}
