import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { MAIN } from './cloister.test.support.ts'

/** What a command came to. */
export interface Ended {
  readonly code: number
  readonly stdout: Buffer
  readonly stderr: string
}

/** A key service with a home folder, and the command as a person would run it there. */
export interface Served {
  readonly folder: string
  /** Where its metrics are, where they are served. */
  readonly metrics: string | undefined
  /** The key service's process. */
  readonly pid: number
  /** Runs a command in the folder. @param input - Given to its standard input */
  readonly run: (argv: readonly string[], input?: Uint8Array) => Promise<Ended>
  readonly stop: () => Promise<void>
}

/** Starts `cloister kms serve` in a folder of its own, that goes away with it. @param more - Flags */
export async function served(more: readonly string[] = []): Promise<Served> {
  const folder = await mkdtemp(join(tmpdir(), 'cloister-cli-'))
  const home = join(folder, 'home')
  const argv = ['--home', home, 'kms', 'serve', '--port', '0', '--allow-simulated-platform']
  const kms = spawn(process.execPath, [MAIN, ...argv, ...more], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  let metrics: string | undefined
  for await (const line of createInterface({ input: kms.stdout })) {
    metrics ??= /^ {2}metrics: (.+)$/.exec(line)?.[1]
    if (line.includes('pin:')) break
  }
  const run = (argv: readonly string[], input?: Uint8Array) =>
    new Promise<Ended>(resolve => {
      const child = execFile(
        process.execPath,
        [MAIN, '--home', home, ...argv],
        { cwd: folder, maxBuffer: 1 << 24, encoding: 'buffer' },
        (error, stdout, stderr) => {
          const code = error === null ? 0 : Number(error.code)
          resolve({ code, stdout, stderr: stderr.toString() })
        },
      )
      child.stdin?.end(input)
    })
  const stop = async () => {
    kms.kill('SIGTERM')
    if (kms.exitCode === null) await once(kms, 'exit')
    await rm(folder, { recursive: true, force: true })
  }
  if (kms.pid === undefined) throw new Error('the key service did not start')
  return { folder, metrics, pid: kms.pid, run, stop }
}
