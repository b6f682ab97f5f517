import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { exportSimPlatform, type SimPlatform } from '@cloister/attestation'
import { containerProfile, RunFolder, removeStaleRuns } from '@cloister/enclave/launcher'
import type { RunOnSgxOptions } from '@cloister/engine/job'
import type { ContainerEvent } from './conversation.ts'
import { type Engine, findEngine, imageId } from './engine.ts'
import { ContainerError } from './errors.ts'
import { layOut } from './layout.ts'
import { type Ended, type Order, VERSION } from './messages.ts'
import { type OneContainer, runContainer } from './one-container.ts'
import { OWNER_LABEL, removeLeftContainers, thisOwner } from './owner.ts'
import { runTogether } from './together.ts'
import { containerUser, makeOutputFolders, requireReadable } from './user.ts'
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
  /** Runs the job as a driver and so many executors, each in a container of its own. */
  readonly executors?: number
}

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
            ...{ withoutSandbox: withoutSandbox === true, part: { role: 'alone' } },
          },
  }
}

interface Prepared {
  readonly engine: Engine
  readonly wants: Wants
  readonly order: Omit<Order, 'job' | 'instanceName'>
  readonly image: string
}

async function runIn(
  run: RunFolder,
  options: ContainerOptions & { readonly onEvent: (event: ContainerEvent) => void },
  { engine, image, wants, order }: Prepared,
): Promise<Ended> {
  const { job, mounts } = layOut(options.job, wants.writableHostFolders)
  const profile = join(run.path, 'seccomp.json')
  await writeFile(profile, containerProfile())
  const user = containerUser()
  const container: OneContainer = {
    ...{ ...options, engine, mounts, order: { ...order, job, instanceName: run.name } },
    sockets: join(run.path, 'sockets'),
    plan: {
      ...{ image, profile, user, name: `cloister-${run.name}`, ...wants },
      labels: { [OWNER_LABEL]: thisOwner() },
      network: wants.hasNetwork ? options.network : 'none',
      mounts: [...mounts, ...wants.mounts],
    },
  }
  const { executors } = options
  const end =
    executors === undefined
      ? await runContainer(container)
      : await runTogether(container, executors, join(run.path, 'door'))
  if (end !== 'served') return end
  throw new ContainerError('LOST', 'the container says that it was an executor')
}
