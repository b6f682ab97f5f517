import type { InstanceEnd, LaunchEvent, LaunchResult } from '@cloister/enclave'
import { requireGraminePal } from '@cloister/enclave/launcher'
import {
  type JobFile,
  readJobFile,
  runJobFile,
  runJobOnSgx,
  teeOfImage,
} from '@cloister/engine/job'
import { KmsClient } from '@cloister/kms'
import type { Command } from 'commander'
import { refusalOf } from '../instance-refusal.ts'
import { Collected } from '../output/collected.ts'
import { type GlobalFlags, Session } from '../session.ts'
import { simulatedPlatform } from '../simulated-platform.ts'
import { UsageError } from '../usage-error.ts'

/** Flags of `cloister run`. */
interface RunFlags extends GlobalFlags {
  readonly withoutSandbox?: true
  readonly libpal?: string
}

/** How a job ended; where the enclave was simulated, also in what. */
type Ended = InstanceEnd & Partial<Pick<LaunchResult, 'isolation' | 'usage'>>

/** `cloister run`: a job in an enclave. */
export function addRunCommand(program: Command): void {
  program
    .command('run')
    .description('run a job in an enclave: simulated, or on SGX where its image is made ready')
    .argument('<job>', 'a job.yaml')
    .option(
      '--without-sandbox',
      'UNPROTECTED: as a plain process, which sees and changes this machine as you do',
    )
    .option('--libpal <file>', "on SGX: Gramine's libpal.so (default: as installed)")
    .addHelpText(
      'after',
      `
An image folder runs in a simulated enclave; what \`enclave prepare --backend gramine\` made of one runs
on SGX. The program's standard streams are this command's. What it prints is not secret. SIGINT, SIGTERM
and SIGHUP are passed on to it; the third SIGINT ends it. Where it fails by itself, its exit code
is this command's; 128 and the signal's number where it was ended.

Examples:
  cloister run job.yaml
  cloister run job.yaml > printed.txt
  cloister run job.yaml --json`,
    )
    .action(async (file: string, _flags, command: Command) => {
      const flags = command.optsWithGlobals<RunFlags>()
      const session = new Session(flags)
      const job = await readJobFile(file)
      // With --json there is one object on each stream, and what the program says is in it.
      const said = session.json ? new Collected() : undefined
      const result = await runWatched(session, job, flags, said)
      if (result.outcome === 'failed') throw failureOf(job, result, said?.text())
      tellResult(session, job, result, said?.text())
    })
}

async function runWatched(
  session: Session,
  job: JobFile,
  flags: RunFlags,
  said: Collected | undefined,
): Promise<Ended> {
  const pin = await session.pin()
  const client = new KmsClient(pin)
  const interrupted = new AbortController()
  const callOff = () => interrupted.abort()
  process.once('SIGINT', callOff)
  const onEvent = (event: LaunchEvent) => {
    // From here on the program is who is interrupted.
    if (event.kind === 'started') process.off('SIGINT', callOff)
    for (const line of describe(event)) session.printer.note(line)
  }
  const common = {
    ...{ job, pin, onEvent, signal: interrupted.signal, passOnSignals: true },
    ...(said === undefined ? streamsOf(job) : { stdout: said, stderr: said }),
  }
  try {
    const run = await runnerOf(session, job, flags)
    // Nobody is spoken to about an image that is not as it was signed.
    const result = await run({ ...common, onVerified: () => session.follow(client) })
    await session.follow(client)
    return result
  } finally {
    process.off('SIGINT', callOff)
    client.close()
    // Whoever writes to it may go on for ever.
    process.stdin.destroy()
  }
}

/** What runs a job: the TEE that its image was made for decides. */
async function runnerOf(session: Session, job: JobFile, { withoutSandbox, libpal }: RunFlags) {
  type Common = Parameters<typeof runJobOnSgx>[0]
  const tee = await teeOfImage(job.image)
  if (tee === 'sgx') {
    if (withoutSandbox === true) {
      throw new UsageError('--without-sandbox: an enclave on SGX has none', 'leave it out')
    }
    const pal = requireGraminePal(libpal)
    return (common: Omit<Common, 'libpal'>): Promise<Ended> =>
      runJobOnSgx({ ...common, libpal: pal })
  }
  const platform = await simulatedPlatform(session.home)
  const { stdin } = process
  return (common: Omit<Common, 'libpal'>): Promise<Ended> =>
    runJobFile({ ...common, platform, stdin, withoutSandbox: withoutSandbox === true })
}

/** A query's result is in its output; what its runner prints is no result. */
function streamsOf({ queries }: JobFile) {
  return queries === undefined ? {} : { stdout: process.stderr }
}

function failureOf(
  { queries }: JobFile,
  { failure, exitCode, signal }: Extract<Ended, { outcome: 'failed' }>,
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
  { outcome, isolation, usage }: Ended,
  output: string | undefined,
): void {
  const receipts = Object.values(job.outputs).map(({ folder }) => `${folder}/receipt.jws`)
  const lines = [`done; receipt: ${receipts.join(', ') || 'none, for want of an output'}`]
  // What an enclave on SGX was is in its receipt, and not this host's to say.
  if (isolation !== undefined)
    lines.push('THE TEE WAS SIMULATED: nothing was hidden from this host')
  const text = lines.join('\n')
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
