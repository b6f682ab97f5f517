import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ExecutorResult, HostAddress } from '@cloister/enclave/launcher'
import { readJobFile, serveJobFile, teeOfImage } from '@cloister/engine/job'
import { KmsClient } from '@cloister/kms'
import type { Command } from 'commander'
import { refusalOf } from '../instance-refusal.ts'
import { describe } from '../run/describe.ts'
import { addHostsOptions, addressOf, type HostsFlags, hostsOf } from '../run/hosts.ts'
import { type GlobalFlags, Session } from '../session.ts'
import { simulatedPlatform } from '../simulated-platform.ts'
import { UsageError } from '../usage-error.ts'

/** How long after one run the next is looked for. */
const AGAIN_MS = 5_000

/** Flags of `cloister executor`. */
interface ExecutorFlags extends GlobalFlags, HostsFlags {
  readonly driver: HostAddress
  readonly stay?: true
}

/** `cloister executor`: a machine for an executor of a job whose driver another has. */
export function addExecutorCommand(program: Command): void {
  const command = program
    .command('executor')
    .description('offer this machine for an executor of a job whose driver runs on another')
    .argument('<job>', 'a job.yaml: the same job, with folders as this machine reaches them')
    .requiredOption(
      '--driver <host:port>',
      'where cloister run --executors N --listen HOST:PORT listens',
      (text: string) => addressOf('--driver', text),
    )
  addHostsOptions(command)
    .option('--stay', 'for every run of the job, until interrupted')
    .addHelpText(
      'after',
      `
This machine decides what it runs: the job that the file names, by the image that is verified here,
and nothing else. It is attested as any instance is, and the key service must trust its platform.
Without --listen it calls and is not called: its connections go by the driver's host.

Examples:
  cloister executor job.yaml --driver driver.example:7400
  cloister executor job.yaml --driver 10.0.0.1:7400 --listen 10.0.0.2:7400 --secret-file hosts.secret
  cloister executor job.yaml --driver 10.0.0.1:7400 --stay --json`,
    )
    .action(async (file: string, _flags, command: Command) => {
      const flags = command.optsWithGlobals<ExecutorFlags>()
      const session = new Session(flags)
      const interrupted = new AbortController()
      const stop = () => interrupted.abort()
      const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
      for (const signal of signals) process.once(signal, stop)
      try {
        if (flags.stay === true) await stay(session, file, flags, interrupted.signal)
        else tell(session, await serve(session, file, flags, interrupted.signal))
      } finally {
        for (const signal of signals) process.off(signal, stop)
      }
    })
}

/** Serves one run after the other. @throws what is no matter of the driver's host */
async function stay(
  session: Session,
  file: string,
  flags: ExecutorFlags,
  signal: AbortSignal,
): Promise<void> {
  const id = randomBytes(16).toString('hex')
  while (!signal.aborted) {
    try {
      tell(session, await serve(session, file, flags, signal, id))
    } catch (error) {
      if (signal.aborted) return
      if (!isDrivers(error)) throw error
      for (const line of describe({ kind: 'waiting', message: `another run: ${error.message}` })) {
        session.printer.note(line)
      }
    }
    await sleep(AGAIN_MS, undefined, { signal }).catch(() => {})
  }
}

/** Whether it is the driver's host that is not there, or has another job. */
function isDrivers(error: unknown): error is Error {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  return (
    error instanceof Error &&
    error.name === 'LaunchError' &&
    ['DRIVER', 'JOB'].includes(String(code))
  )
}

async function serve(
  session: Session,
  file: string,
  flags: ExecutorFlags,
  signal: AbortSignal,
  id?: string,
): Promise<ExecutorResult> {
  const job = await readJobFile(file)
  if ((await teeOfImage(job.image)) === 'sgx') {
    throw new UsageError('a job under Gramine is one instance', 'give a job of an image folder')
  }
  const pin = await session.pin()
  const client = new KmsClient(pin)
  try {
    const result = await serveJobFile({
      ...{ job, pin, signal, driver: flags.driver, hosts: await hostsOf(flags) },
      ...(id === undefined ? {} : { id }),
      platform: await simulatedPlatform(session.home),
      untilOver: flags.stay === true,
      onVerified: () => session.follow(client),
      onEvent: event => {
        for (const line of describe(event)) session.printer.note(line)
      },
    })
    await session.follow(client)
    return result
  } finally {
    client.close()
  }
}

function tell({ printer }: Session, result: ExecutorResult): void {
  const { outcome, runId, names, failure } = result
  if (outcome === 'refused' && failure !== undefined) throw refusalOf(failure)
  printer.result({ outcome, runId, executors: names }, () =>
    [
      `the run ${outcome === 'completed' ? 'is completed' : 'has failed'}`,
      names.length === 0 ? 'no executor was wanted here' : `here: ${names.join(', ')}`,
    ].join('; '),
  )
}
