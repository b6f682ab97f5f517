import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chown, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { exportSimPlatform, type SimPlatform } from '@cloister/attestation'
import {
  containerProfile,
  openRelay,
  RunFolder,
  removeStaleRuns,
  requireNotAborted,
} from '@cloister/enclave/launcher'
import type { RunOnSgxOptions } from '@cloister/engine/job'
import { type ContainerPlan, type ContainerUser, containerArguments } from './container.ts'
import { type ContainerEvent, Conversation } from './conversation.ts'
import { type Engine, findEngine, imageId, lastLine, removeContainer } from './engine.ts'
import { ContainerError } from './errors.ts'
import { CLIENT_SOCKET, KMS_SOCKET, layOut, SOCKETS } from './layout.ts'
import { type Ended, type Order, VERSION } from './messages.ts'
import { OWNER_LABEL, removeLeftContainers, thisOwner } from './owner.ts'
import { containerUser, isAnother, makeOutputFolders, requireReadable } from './user.ts'
import { type Wants, wantsOf } from './wants.ts'

/** What {@link runInContainer} needs. */
export interface ContainerOptions
  extends Pick<
    RunOnSgxOptions,
    'job' | 'pin' | 'onVerified' | 'signal' | 'passOnSignals' | 'stdout' | 'stderr'
  > {
  /** The container's image, which has the command `cloister`; the engine must have it. */
  readonly containerImage: string
  /** The engine's command; Docker's, else Podman's, unless told. */
  readonly engine?: string
  /** The engine's network for programs that connect to hosts; its own default unless told. */
  readonly network?: string
  readonly onEvent?: (event: ContainerEvent) => void
  /** Plays the processor that quotes, for an image that is to be simulated. */
  readonly platform: () => Promise<SimPlatform>
  readonly stdin?: Readable
  readonly withoutSandbox?: boolean
  /** In the container, Gramine's `libpal.so`. */
  readonly libpal?: string
}

const SOCKET_MODE = 0o600
const MAX_SAID = 4096

/** How long a container may take until a launcher answers from it. */
const BEGINNING_MS = 120_000

/**
 * Runs a job file in a container of this machine's: the same launcher with the same order, shut in once
 * more, without a network but what the image names. It reaches the key service, and this process, by
 * two sockets; when this process ends, so do instance and container.
 * @throws ContainerError; and what running the job throws, from inside
 */
export async function runInContainer(options: ContainerOptions): Promise<Ended> {
  const { job, onEvent = () => {} } = options
  const wants = await wantsOf(job.image, options.withoutSandbox === true)
  const engine = await findEngine(options.engine)
  const image = await imageId(engine, options.containerImage)
  const [left] = await Promise.all([removeLeftContainers(engine), removeStaleRuns()])
  for (const name of left) {
    const message = `container ${name} was left over by a command that was killed; it is removed`
    onEvent({ kind: 'warning', code: 'LEFT_CONTAINER', message })
  }
  const outputs = Object.values(job.outputs).map(({ folder }) => folder)
  const user = containerUser()
  const inputs = Object.values(job.inputs).map(({ folder }) => folder)
  await requireReadable(inputs, engine, user)
  await makeOutputFolders(outputs, engine, user)
  const order = await orderOf(options, wants)
  const run = await RunFolder.make(outputs, 0)
  try {
    return await runIn(run, { ...options, onEvent }, { engine, image, wants, order })
  } finally {
    await run.remove()
  }
}

async function orderOf(
  { pin, platform, withoutSandbox, libpal }: ContainerOptions,
  { inside }: Wants,
): Promise<Omit<Order, 'job' | 'instanceName'>> {
  return {
    ...{ kind: 'order', version: VERSION, pin },
    in:
      inside === 'sgx'
        ? { tee: 'sgx', libpal: libpal ?? null }
        : {
            ...{ tee: 'sim', platform: exportSimPlatform(await platform()) },
            withoutSandbox: withoutSandbox === true,
          },
  }
}

interface Prepared {
  readonly engine: Engine
  readonly image: string
  readonly wants: Wants
  readonly order: Omit<Order, 'job' | 'instanceName'>
}

async function runIn(
  run: RunFolder,
  options: ContainerOptions & { readonly onEvent: (event: ContainerEvent) => void },
  { engine, image, wants, order }: Prepared,
): Promise<Ended> {
  const { onEvent, signal } = options
  const { job, mounts } = layOut(options.job, wants.writableHostFolders)
  const sockets = join(run.path, 'sockets')
  await mkdir(sockets, { mode: 0o700 })
  const profile = join(run.path, 'seccomp.json')
  await writeFile(profile, containerProfile())
  const name = `cloister-${run.name}`
  const plan: ContainerPlan = {
    ...{ name, image, profile, user: containerUser(), labels: { [OWNER_LABEL]: thisOwner() } },
    ...wants,
    network: wants.hasNetwork ? options.network : 'none',
    mounts: [...mounts, ...wants.mounts, { source: sockets, target: SOCKETS, isWritable: false }],
    argv: ['contained', SOCKETS],
  }
  const kms = await openRelay(join(sockets, KMS_SOCKET), options.pin.url, SOCKET_MODE)
  const conversation = await Conversation.open(join(sockets, CLIENT_SOCKET), {
    ...{ ...options, mounts, order: { ...order, job, instanceName: run.name } },
  })
  let isOver = false
  try {
    if (isAnother(engine)) await handOver(sockets, plan.user)
    requireNotAborted(signal)
    onEvent({ kind: 'container', name, image, network: plan.network, inside: plan.inside })
    const child = start(engine, plan, options)
    const late = setTimeout(() => {
      if (!conversation.isBegun) void removeContainer(engine, name)
    }, BEGINNING_MS)
    const how = await endOf(child, options).finally(() => clearTimeout(late))
    isOver = conversation.hasResult
    const result = conversation.result()
    if (result !== undefined) return result
    requireNotAborted(signal)
    throw lost(conversation.isBegun, plan, how)
  } finally {
    conversation.close()
    kms.close()
    // Of one that ended as it should nothing is left.
    if (!isOver) await removeContainer(engine, name)
  }
}

/** Gives the sockets to the container's user. */
async function handOver(folder: string, { uid, gid }: ContainerUser): Promise<void> {
  const paths = [CLIENT_SOCKET, KMS_SOCKET].map(name => join(folder, name))
  for (const path of [folder, ...paths]) await chown(path, uid, gid)
}

function start(engine: Engine, plan: ContainerPlan, { stdin }: ContainerOptions): ChildProcess {
  const child = spawn(engine.command, containerArguments(engine, plan), {
    stdio: [plan.hasInput ? 'pipe' : 'ignore', 'pipe', 'pipe'],
    // What a terminal sends is passed on once, and not by the engine's command too.
    detached: true,
  })
  if (child.stdin !== null && stdin !== undefined) {
    // A program may stop reading before the end.
    child.stdin.on('error', () => stdin.unpipe())
    stdin.pipe(child.stdin)
  }
  return child
}

/** How the engine's command ended, and the last that was on its error output. */
interface CommandEnd {
  readonly code: number | null
  readonly said: string
}

/** Follows a container to its end. */
async function endOf(
  child: ChildProcess,
  { stdout = process.stdout, stderr = process.stderr }: ContainerOptions,
): Promise<CommandEnd> {
  let said = ''
  child.stdout?.pipe(stdout, { end: false })
  child.stderr?.pipe(stderr, { end: false })
  child.stderr?.on('data', (bytes: Buffer) => {
    said = `${said}${bytes.toString('utf8')}`.slice(-MAX_SAID)
  })
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, said }
}

function lost(isBegun: boolean, { name, memoryMiB }: ContainerPlan, { code, said }: CommandEnd) {
  const detail = said === '' ? '' : `: ${lastLine(said)}`
  if (!isBegun) {
    return new ContainerError('START', `no launcher answers from container ${name}${detail}`)
  }
  const limit = memoryMiB === undefined ? '' : `; it may use ${memoryMiB} MiB`
  const message = `container ${name} ended with ${code} and did not say why${limit}${detail}`
  return new ContainerError('LOST', message)
}
