import { spawn } from 'node:child_process'
import { constants } from 'node:os'
import type { Writable } from 'node:stream'
import { BackendError } from '../errors.ts'
import { verifyGramine } from './verify.ts'

/** What to run under Gramine. */
export interface RunGramineOptions {
  /** What `buildGramine` made. */
  readonly folder: string
  /** Gramine's `libpal.so`. */
  readonly libpal: string
  /** `gramine-sgx` on the PATH, unless told. */
  readonly command?: string
  /** Ends the enclave. */
  readonly signal?: AbortSignal
  /** Where the program's output goes; this process's own unless told. */
  readonly stdout?: Writable
}

/**
 * Runs an image under Gramine on SGX: verifies all of it, then starts `gramine-sgx` with an empty
 * environment and no arguments. Standard streams are this process's own unless told.
 * @returns the exit code; 128 and the signal's number where a signal ended it
 * @throws BackendError with `TOOL_MISSING`; what {@link verifyGramine} throws
 */
export async function runGramine(options: RunGramineOptions): Promise<number> {
  const { folder, libpal, command = 'gramine-sgx', signal, stdout } = options
  const { image } = await verifyGramine(folder, libpal)
  const { PATH = '/usr/local/bin:/usr/bin:/bin' } = process.env
  const child = spawn(command, [image.name], {
    cwd: folder,
    env: { PATH },
    stdio: ['inherit', stdout === undefined ? 'inherit' : 'pipe', 'inherit'],
    ...(signal === undefined ? {} : { signal }),
  })
  if (stdout !== undefined) child.stdout?.pipe(stdout, { end: false })
  return await new Promise((resolve, reject) => {
    child.once('error', cause => {
      if (signal?.aborted === true) return
      reject(new BackendError('TOOL_MISSING', `${command} does not start`, { cause }))
    })
    child.once('close', (code, ended) => {
      resolve(ended === null ? (code ?? 1) : 128 + constants.signals[ended])
    })
  })
}
