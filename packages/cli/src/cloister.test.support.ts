import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/** The command's entry point. */
export const MAIN = fileURLToPath(new URL('./main.js', import.meta.url))

/** What a command came to. */
export interface Ended {
  /** -1 where it did not end by itself, or said more than is taken. */
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** Where a command runs. */
export interface Place {
  /** Its home folder; a relative one is in `cwd`. */
  readonly home: string
  readonly cwd?: string
  readonly env?: NodeJS.ProcessEnv
}

/** Runs the command as a process of its own. */
export function cloisterAt({ home, ...where }: Place, ...argv: readonly string[]): Promise<Ended> {
  return new Promise(resolve => {
    const options = { ...where, maxBuffer: 1 << 24 }
    const all = [MAIN, '--home', home, ...argv]
    execFile(process.execPath, all, options, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : -1
      resolve({ code, stdout, stderr })
    })
  })
}
