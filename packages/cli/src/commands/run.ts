import { type ContainerEvent, runInContainer } from '@cloister/cluster/docker'
import type { InstanceEnd } from '@cloister/enclave'
import { requireGraminePal } from '@cloister/enclave/launcher'
import {
  type JobFile,
  programOfImage,
  readJobFile,
  runJobFile,
  runJobOnSgx,
  teeOfImage,
} from '@cloister/engine/job'
import { KmsClient } from '@cloister/kms'
import type { Command } from 'commander'
import { givenOptions } from '../given-options.ts'
import { refusalOf } from '../instance-refusal.ts'
import { Collected } from '../output/collected.ts'
import { describe } from '../run/describe.ts'
import { addDockerOptions, type DockerFlags, dockerOf, requireNoContainers } from '../run/docker.ts'
import { addHostsOptions, type HostsFlags, hostsOf } from '../run/hosts.ts'
import {
  addKubernetesOptions,
  type KubernetesFlags,
  onKubernetes,
  requireNoPods,
} from '../run/kubernetes.ts'
import { type On, OnError, parseOn } from '../run/on.ts'
import { type GlobalFlags, Session } from '../session.ts'
import { simulatedPlatform } from '../simulated-platform.ts'
import { UsageError } from '../usage-error.ts'

/** Flags of `cloister run`. */
interface RunFlags extends GlobalFlags, HostsFlags, DockerFlags, KubernetesFlags {
  readonly on?: On
  readonly withoutSandbox?: true
  readonly libpal?: string
  readonly executors?: number
}

/** Those of a job that runs on this machine. */
type HereFlags = Omit<RunFlags, 'on'> & { readonly on: Exclude<On, { kind: 'k8s' }> | undefined }

/** How a job ended; where the enclave was simulated, also in what. */
type Ended = InstanceEnd & { readonly isolation?: object; readonly usage?: object }

/** The same, with what was warned of on the way: a note where there is a person, else in the result. */
type Watched = Ended & { readonly warnings: readonly string[] }

/** Of executors that come and go there may be any number. */
const MOST_WARNINGS = 1000

/** `cloister run`: a job in an enclave. */
export function addRunCommand(program: Command): void {
  const command = program
    .command('run')
    .description('run a job in an enclave: simulated, or on SGX where its image is made ready')
    .argument('<job>', 'a job.yaml')
    .option(
      '--on <what>',
      'embedded (the query runner), local, docker, or k8s (default: as the image is, here)',
      parseOn,
    )
    .option(
      '--without-sandbox',
      'UNPROTECTED: as a plain process, which sees and changes this machine as you do',
    )
    .option('--libpal <file>', "on SGX: Gramine's libpal.so (default: as installed)")
    .option(
      '--executors <number>',
      'Spark: runs it as a driver and so many executors, each an instance by itself',
      numberOf,
    )
  addKubernetesOptions(addDockerOptions(addHostsOptions(command)))
    .addHelpText(
      'after',
      `
An image folder runs in a simulated enclave; what \`enclave prepare --backend gramine\` made of one runs
on SGX. The program's standard streams are this command's. What it prints is not secret. SIGINT, SIGTERM
and SIGHUP are passed on to it; the third SIGINT ends it. Where it fails by itself, its exit code
is this command's; 128 and the signal's number where it was ended.

With --listen, executors are on other machines, which call in: \`cloister executor\`, on each.
With --on k8s, all run in pods of a cluster; ctrl-c removes them: docs/kubernetes.md.

Examples:
  cloister run job.yaml
  cloister run job.yaml > printed.txt
  cloister run job.yaml --on docker
  cloister run job.yaml --executors 2
  cloister run job.yaml --executors 2 --listen 10.0.0.1:7400 --secret-file hosts.secret
  cloister run job.yaml --on k8s --pod-image registry.example/cloister:0.1.0 --claim reports
  cloister run job.yaml --on k8s --as spark-application --pod-image … --claim reports
  cloister run job.yaml --json`,
    )
    .action(async (file: string, _flags, command: Command) => {
      const flags = command.optsWithGlobals<RunFlags>()
      const session = new Session(flags)
      const { on } = flags
      if (on?.kind !== 'docker') requireNoContainers(flags)
      if (on?.kind === 'k8s') return await onKubernetes(session, file, flags)
      requireNoPods(flags)
      const job = await readJobFile(file)
      // With --json there is one object on each stream, and what the program says is in it.
      const said = session.json ? new Collected() : undefined
      const result = await runWatched(session, job, { ...flags, on }, said)
      if (result.outcome === 'failed') throw failureOf(job, result, said?.text())
      tellResult(session, job, result, said?.text())
    })
}

/** How many there can be, whoever runs the job says. */
function numberOf(text: string): number {
  if (/^[1-9]\d{0,3}$/.test(text)) return Number(text)
  const message = `--executors: wanted a number from 1, seen ${JSON.stringify(text)}`
  throw new UsageError(message, 'as in --executors 2')
}

async function runWatched(
  session: Session,
  job: JobFile,
  flags: HereFlags,
  said: Collected | undefined,
): Promise<Watched> {
  const pin = await session.pin()
  const client = new KmsClient(pin)
  const interrupted = new AbortController()
  const callOff = () => interrupted.abort()
  process.once('SIGINT', callOff)
  const warnings: string[] = []
  const onEvent = (event: ContainerEvent) => {
    if (event.kind === 'warning' && warnings.length < MOST_WARNINGS) warnings.push(event.message)
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
    return { ...result, warnings }
  } finally {
    process.off('SIGINT', callOff)
    client.close()
    // Whoever writes to it may go on for ever.
    process.stdin.destroy()
  }
}

/** What every way of running a job takes. */
type Common = Omit<Parameters<typeof runJobOnSgx>[0], 'libpal' | 'onEvent'> & {
  readonly onEvent: (event: ContainerEvent) => void
}
type Runner = (common: Common) => Promise<Ended>

/** What runs a job: what the person says, else the TEE that its image was made for. */
async function runnerOf(session: Session, job: JobFile, flags: HereFlags): Promise<Runner> {
  const { on, executors, listen } = flags
  if (listen !== undefined && executors === undefined) {
    throw new UsageError('--listen: nobody is waited for', 'give --executors NUMBER')
  }
  const [odd] = givenOptions(flags, ['advertise', 'secretFile', 'wait'])
  if (listen === undefined && odd !== undefined) {
    throw new UsageError(`${odd}: nothing listens`, 'give --listen HOST:PORT')
  }
  const tee = await teeOfImage(job.image)
  switch (on?.kind) {
    case 'embedded':
      await requireQueryRunner(job)
      return await simulatedRunner(session, flags)
    case 'local':
      if (tee === 'sgx') {
        throw new UsageError('--on local: wanted an image folder, seen one for SGX', 'leave it out')
      }
      return await simulatedRunner(session, flags)
    case 'docker':
      if (tee === 'sgx') requireNoneOfSimulated(flags)
      return dockerRunner(session, flags)
    case undefined:
      return tee === 'sgx' ? sgxRunner(flags) : await simulatedRunner(session, flags)
  }
}

async function requireQueryRunner({ image }: JobFile): Promise<void> {
  const { isQueryRunner, seen } = await programOfImage(image)
  if (isQueryRunner) return
  const message = `--on embedded: wanted an image of the query runner, seen one of ${seen}`
  throw new OnError('NO_QUERY_RUNNER', message)
}

function sgxRunner(flags: HereFlags): Runner {
  requireNoneOfSimulated(flags)
  const pal = requireGraminePal(flags.libpal)
  return common => runJobOnSgx({ ...common, libpal: pal })
}

function requireNoneOfSimulated({ withoutSandbox, executors }: HereFlags): void {
  if (withoutSandbox === true) {
    throw new UsageError('--without-sandbox: an enclave on SGX has none', 'leave it out')
  }
  if (executors !== undefined) {
    throw new UsageError('--executors: a job under Gramine is one instance', 'leave it out')
  }
}

function dockerRunner(session: Session, flags: HereFlags): Runner {
  const { withoutSandbox, executors, libpal, listen } = flags
  if (listen !== undefined) {
    throw new UsageError('--listen: containers of this machine find each other', 'leave it out')
  }
  return common =>
    runInContainer({
      ...{ ...common, ...dockerOf(flags), stdin: process.stdin },
      platform: () => simulatedPlatform(session.home),
      withoutSandbox: withoutSandbox === true,
      ...(libpal === undefined ? {} : { libpal }),
      ...(executors === undefined ? {} : { executors }),
    })
}

async function simulatedRunner(session: Session, flags: HereFlags): Promise<Runner> {
  const { withoutSandbox, executors } = flags
  const platform = await simulatedPlatform(session.home)
  const { stdin } = process
  const { listen, ...hosts } = await hostsOf(flags)
  return common =>
    runJobFile({
      ...{ ...common, platform, stdin, withoutSandbox: withoutSandbox === true },
      ...(executors === undefined ? {} : { executors }),
      ...(listen === undefined ? {} : { hosts: { ...hosts, listen } }),
    })
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
  { outcome, isolation, usage, warnings }: Watched,
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
  else {
    const warned = warnings.length === 0 ? {} : { warnings }
    printer.result({ outcome, isolation, usage, receipts, output, ...warned }, () => text)
  }
}
