import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/** The command's entry point. */
export const MAIN = fileURLToPath(new URL('./main.js', import.meta.url))

/** What a command came to; code 0 also where a signal ended it. */
export interface Ended {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs the command as a process of its own, with a home folder. */
export function cloister(home: string, ...argv: readonly string[]): Promise<Ended> {
  return new Promise(resolve => {
    execFile(process.execPath, [MAIN, '--home', home, ...argv], (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr })
    })
  })
}
