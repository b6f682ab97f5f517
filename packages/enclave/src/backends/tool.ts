import { execFile } from 'node:child_process'
import { BackendError } from './errors.ts'

/** Most that a tool may say. */
const MAX_OUTPUT = 16 * 2 ** 20
/** How much of what a tool said stands in an error. */
const SHOWN = 2000

/** A backend's command as it is started. */
export interface ToolCall {
  /** Name on the PATH, or an absolute path. */
  readonly command: string
  readonly args: readonly string[]
  readonly cwd: string
  /** Added to an environment of PATH, HOME and LANG alone. */
  readonly environment?: Readonly<Record<string, string>>
}

/**
 * Runs a backend's command to its end.
 * @returns what it printed
 * @throws BackendError with `TOOL_MISSING`, `TOOL`
 */
export function runTool({ command, args, cwd, environment }: ToolCall): Promise<string> {
  const { PATH = '/usr/local/bin:/usr/bin:/bin', HOME = '/' } = process.env
  const env = { PATH, HOME, LANG: 'C.UTF-8', ...environment }
  return new Promise((resolve, reject) => {
    execFile(command, [...args], { cwd, env, maxBuffer: MAX_OUTPUT }, (error, stdout, stderr) => {
      if (error === null) return resolve(stdout)
      if (error.code === 'ENOENT') {
        return reject(
          new BackendError('TOOL_MISSING', `${command} is not installed`, { cause: error }),
        )
      }
      const said = `${stderr}${stdout}`.trim().slice(-SHOWN)
      reject(new BackendError('TOOL', `${command} ended with ${error.code}: ${said}`))
    })
  })
}
