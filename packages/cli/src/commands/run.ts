import type { LaunchEvent, LaunchResult } from '@cloister/enclave'
import { type JobFile, readJobFile, runJobFile } from '@cloister/engine/job'
import { KmsClient } from '@cloister/kms'
import type { Command } from 'commander'
import { refusalOf } from '../instance-refusal.ts'
import { Collected } from '../output/collected.ts'
import { type GlobalFlags, Session } from '../session.ts'
import { simulatedPlatform } from '../simulated-platform.ts'

/** `cloister run`: a job in an enclave. */
export function addRunCommand(program: Command): void {
  program
    .command('run')
    .description('run a job in a simulated enclave')
    .argument('<job>', 'a job.yaml')
    .option(
      '--without-sandbox',
      'UNPROTECTED: as a plain process, which sees and changes this machine as you do',
    )
    .addHelpText(
      'after',
      `
The program's standard streams are this command's. What it prints is not secret. SIGINT, SIGTERM
and SIGHUP are passed on to it; the third SIGINT ends it. Where it fails by itself, its exit code
is this command's; 128 and the signal's number where it was ended.

Examples:
  cloister run job.yaml
  cloister run job.yaml > printed.txt
  cloister run job.yaml --json`,
    )
    .action(async (file: string, _flags, command: Command) => {
      const flags = command.optsWithGlobals<GlobalFlags & { readonly withoutSandbox?: true }>()
      const session = new Session(flags)
      const job = await readJobFile(file)
      // With --json there is one object on each stream, and what the program says is in it.
      const said = session.json ? new Collected() : undefined
      const result = await runWatched(session, job, flags.withoutSandbox === true, said)
      if (result.outcome === 'failed') throw failureOf(job, result, said?.text())
      tellResult(session, job, result, said?.text())
    })
}

async function runWatched(
  session: Session,
  job: JobFile,
  withoutSandbox: boolean,
  said: Collected | undefined,
): Promise<LaunchResult> {
  const pin = await session.pin()
  const platform = await simulatedPlatform(session.home)
  const client = new KmsClient(pin)
  const interrupted = new AbortController()
  const callOff = () => interrupted.abort()
  process.once('SIGINT', callOff)
  const onEvent = (event: LaunchEvent) => {
    // From here on the program is who is interrupted.
    if (event.kind === 'started') process.off('SIGINT', callOff)
    for (const line of describe(event)) session.printer.note(line)
  }
  const { stdin } = process
  try {
    const result = await runJobFile({
      ...{ job, pin, platform, onEvent, stdin, withoutSandbox },
      // Nobody is spoken to about an image that is not as it was signed.
      onVerified: () => session.follow(client),
      ...{ signal: interrupted.signal, passOnSignals: true },
      ...(said === undefined ? streamsOf(job) : { stdout: said, stderr: said }),
    })
    await session.follow(client)
    return result
  } finally {
    process.off('SIGINT', callOff)
    client.close()
    // Whoever writes to it may go on for ever.
    stdin.destroy()
  }
}

/** A query's result is in its output; what its runner prints is no result. */
function streamsOf({ queries }: JobFile) {
  return queries === undefined ? {} : { stdout: process.stderr }
}

function failureOf(
  { queries }: JobFile,
  { failure, exitCode, signal }: Extract<LaunchResult, { outcome: 'failed' }>,
  output: string | undefined,
): Error {
  const isPrograms = failure.code === 'PROGRAM' && queries === undefined
  return refusalOf(failure, {
    output,
    ...(isPrograms || signal !== null ? { exitCode } : {}),
  })
}

function tellResult(
  { printer, json }: Session,
  job: JobFile,
  { outcome, isolation, usage }: LaunchResult,
  output: string | undefined,
): void {
  const receipts = Object.values(job.outputs).map(({ folder }) => `${folder}/receipt.jws`)
  const text = `done; receipt: ${receipts.join(', ') || 'none, for want of an output'}
THE TEE WAS SIMULATED: nothing was hidden from this host`
  // A program's standard output is its own.
  if (job.queries === undefined && !json) printer.note(text)
  else printer.result({ outcome, isolation, usage, receipts, output }, () => text)
}

function describe(event: LaunchEvent): readonly string[] {
  switch (event.kind) {
    case 'image':
      return [`image ${event.measurement}${event.debug ? ' (DEBUG)' : ''}`]
    case 'isolation':
      return [
        `isolation: ${event.message}`,
        ...event.isolation.missing.map(({ message }) => `missing: ${message}`),
      ]
    case 'started':
      return [`instance started, process ${event.pid}`]
    case 'quoted':
      return ['quoted']
    case 'step':
      return [event.step]
    case 'warning':
      return [`warning: ${event.message}`]
  }
}
