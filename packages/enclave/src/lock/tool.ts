import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { LockError } from './errors.ts'

const run = promisify(execFile)
const MAX_OUTPUT = 64 * 1024 * 1024

/** How a tool is run. */
export interface ToolOptions {
  readonly cwd?: string
  /** Set on top of this process's own environment, or in its place. */
  readonly environment?: Readonly<Record<string, string>>
  readonly replaceEnvironment?: boolean
  /** Which package has the tool. */
  readonly package?: string
}

/**
 * Runs a tool and gives what it says.
 * @throws LockError TOOL with the end of what it complained of
 */
export async function toolOutput(
  command: string,
  args: readonly string[],
  options: ToolOptions = {},
): Promise<string> {
  try {
    const { stdout } = await run(command, [...args], {
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      env: {
        ...(options.replaceEnvironment === true ? {} : process.env),
        LC_ALL: 'C.UTF-8',
        ...options.environment,
      },
      maxBuffer: MAX_OUTPUT,
    })
    return stdout
  } catch (cause) {
    const {
      code,
      stderr = '',
      stdout = '',
    } = cause as NodeJS.ErrnoException & {
      readonly stderr?: string
      readonly stdout?: string
    }
    if (code === 'ENOENT') {
      const hint = options.package === undefined ? '' : `: install ${options.package}`
      throw new LockError('TOOL', `${command} is not there${hint}`, { cause })
    }
    const said = (stderr.trim() || stdout.trim()).split('\n').slice(-8).join('\n')
    throw new LockError('TOOL', `${command} ${args[0] ?? ''} failed: ${said}`, { cause })
  }
}
