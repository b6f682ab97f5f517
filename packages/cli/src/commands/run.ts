import { type ContainerEvent, runInContainer } from '@cloister/cluster/docker'
import type { InstanceEnd } from '@cloister/enclave'
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
import { cloisterImage } from '../cloister-image.ts'
import { refusalOf } from '../instance-refusal.ts'
import { Collected } from '../output/collected.ts'
import { type RunOn, runOn } from '../run-on.ts'
import { type GlobalFlags, Session } from '../session.ts'
import { simulatedPlatform } from '../simulated-platform.ts'
import { UsageError } from '../usage-error.ts'

/** Flags of `cloister run`. */
interface RunFlags extends GlobalFlags {
  readonly withoutSandbox?: true
  readonly libpal?: string
  readonly executors?: number
  readonly on?: RunOn
  readonly dockerImage?: string
  readonly dockerEngine?: string
  readonly dockerNetwork?: string
}

/** How a job ended; where the enclave was simulated, also in what. */
type Ended = InstanceEnd & { readonly isolation?: object; readonly usage?: object }

/** What every way of running a job takes. */
type Common = Omit<Parameters<typeof runJobOnSgx>[0], 'libpal' | 'onEvent'> & {
  readonly onEvent: (event: ContainerEvent) => void
}

/** Runs a job. */
type Runner = (common: Common) => Promise<Ended>

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
    .option(
      '--executors <number>',
      'Spark: runs it as a driver and so many executors, each an instance by itself',
      numberOf,
    )
    .option('--on <where>', 'here, or docker: in a container of this machine', runOn)
    .option(
      '--docker-image <name>',
      "the container's image (default: cloister, tagged with this version)",
    )
    .option('--docker-engine <command>', "the engine's command (default: docker, or else podman)")
    .option('--docker-network <name>', "for programs with a network: the engine's, by name")
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
  cloister run job.yaml --executors 2
  cloister run job.yaml --on docker
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

/** How many there can be, whoever runs the job says. */
function numberOf(text: string): number {
  if (/^[1-9]\d{0,3}$/.test(text)) return Number(text)
  const message = `--executors: wanted a number from 1, seen ${JSON.stringify(text)}`
  throw new UsageError(message, 'as in --executors 2')
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
  const onEvent = (event: ContainerEvent) => {
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

/** What runs a job: where it is to run, and the TEE that its image was made for, decide. */
async function runnerOf(session: Session, job: JobFile, flags: RunFlags): Promise<Runner> {
  const { withoutSandbox, libpal, executors } = flags
  const tee = await teeOfImage(job.image)
  if (tee === 'sgx') {
    if (withoutSandbox === true) {
      throw new UsageError('--without-sandbox: an enclave on SGX has none', 'leave it out')
    }
    if (executors !== undefined) {
      throw new UsageError('--executors: a job under Gramine is one instance', 'leave it out')
    }
  }
  if (flags.on === 'docker') return containerRunner(session, flags)
  if (tee === 'sgx') {
    const pal = requireGraminePal(libpal)
    return common => runJobOnSgx({ ...common, libpal: pal })
  }
  const platform = await simulatedPlatform(session.home)
  const { stdin } = process
  return common =>
    runJobFile({
      ...{ ...common, platform, stdin, withoutSandbox: withoutSandbox === true },
      ...(executors === undefined ? {} : { executors }),
    })
}

/** What runs a job in a container. */
function containerRunner(session: Session, flags: RunFlags): Runner {
  const { withoutSandbox, libpal, executors, dockerImage, dockerEngine, dockerNetwork } = flags
  if (executors !== undefined) {
    throw new UsageError('--executors: a job in a container is one instance', 'leave it out')
  }
  return common =>
    runInContainer({
      ...{ ...common, platform: () => simulatedPlatform(session.home), stdin: process.stdin },
      containerImage: dockerImage ?? cloisterImage(),
      withoutSandbox: withoutSandbox === true,
      ...(libpal === undefined ? {} : { libpal }),
      ...(dockerEngine === undefined ? {} : { engine: dockerEngine }),
      ...(dockerNetwork === undefined ? {} : { network: dockerNetwork }),
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

function describe(event: ContainerEvent): readonly string[] {
  switch (event.kind) {
    case 'container':
      return describeContainer(event)
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
    case 'run':
      return [`run ${event.runId}`]
    case 'executor':
      return [`${event.name}: ${'step' in event ? event.step : `process ${event.pid}`}`]
    case 'warning':
      return [`warning: ${event.message}`]
  }
}

/** What a sandbox in a container takes, and whoever breaks out of it finds less shut for that. */
const SANDBOX_TAKES =
  'for the sandbox in it: namespaces and mounts allowed, /proc not covered, no AppArmor profile'

function describeContainer({
  name,
  image,
  network,
  inside,
}: Extract<ContainerEvent, { readonly kind: 'container' }>): readonly string[] {
  const reaches = network === 'none' ? 'without a network' : `network ${network ?? 'of the engine'}`
  const line = `container ${name} of image ${image.slice(0, 12)}, ${reaches}`
  return inside === 'sandbox' ? [line, SANDBOX_TAKES] : [line]
}
