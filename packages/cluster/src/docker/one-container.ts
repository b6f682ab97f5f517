import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chown, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import { openRelay, requireNotAborted } from '@cloister/enclave/launcher'
import { type ContainerPlan, type ContainerUser, containerArguments } from './container.ts'
import { type ContainerEvent, Conversation, type Talk } from './conversation.ts'
import { type Engine, lastLine, removeContainer } from './engine.ts'
import { ContainerError } from './errors.ts'
import { CLIENT_SOCKET, KMS_SOCKET, SOCKETS } from './layout.ts'
import type { Served } from './messages.ts'
import { isAnother } from './user.ts'

/** One container to run. */
export interface OneContainer extends Omit<Talk, 'onEvent'> {
  readonly engine: Engine
  readonly plan: Omit<ContainerPlan, 'argv'>
  /** A folder of the host's for the sockets that lead out of it; it is made. */
  readonly sockets: string
  readonly onEvent: (event: ContainerEvent) => void
  readonly stdin?: Readable | undefined
  readonly stdout?: Writable | undefined
  readonly stderr?: Writable | undefined
  /** How long it may take until a launcher answers from it; two minutes unless told. */
  readonly beginningMs?: number
}

const SOCKET_MODE = 0o600
const MAX_SAID = 4096

const BEGINNING_MS = 120_000

/**
 * Runs a container, follows it to its end, and leaves nothing of it.
 * @throws ContainerError START, LOST; LaunchError ABORTED; what is thrown in it
 */
export async function runContainer(container: OneContainer): Promise<Served> {
  const { engine, sockets, onEvent, signal, order } = container
  const plan: ContainerPlan = {
    ...container.plan,
    mounts: [...container.plan.mounts, { source: sockets, target: SOCKETS, isWritable: false }],
    argv: ['contained', SOCKETS],
  }
  const { name, image, network, inside } = plan
  await mkdir(sockets, { mode: 0o700 })
  const kms = await openRelay(join(sockets, KMS_SOCKET), order.pin.url, SOCKET_MODE)
  const conversation = await Conversation.open(join(sockets, CLIENT_SOCKET), container).catch(
    (error: unknown) => {
      kms.close()
      throw error
    },
  )
  let isOver = false
  try {
    const paths = [sockets, ...[CLIENT_SOCKET, KMS_SOCKET].map(file => join(sockets, file))]
    await handOver(engine, plan.user, paths)
    requireNotAborted(signal)
    onEvent({ kind: 'container', name, image, network, inside })
    const child = start(engine, plan, container)
    const giveUp = () => {
      if (conversation.isBegun) return
      // Nor does an engine that has stopped answering keep this process.
      void removeContainer(engine, name).then(() => child.kill('SIGKILL'))
    }
    const late = setTimeout(giveUp, container.beginningMs ?? BEGINNING_MS)
    signal?.addEventListener('abort', giveUp)
    const how = await endOf(child, container).finally(() => {
      clearTimeout(late)
      signal?.removeEventListener('abort', giveUp)
    })
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

/** Gives what the container is to use to its user, where that is another one. */
export async function handOver(
  engine: Engine,
  { uid, gid }: ContainerUser,
  paths: readonly string[],
): Promise<void> {
  if (isAnother(engine)) for (const path of paths) await chown(path, uid, gid)
}

function start(engine: Engine, plan: ContainerPlan, { stdin }: OneContainer): ChildProcess {
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
  { stdout = process.stdout, stderr = process.stderr }: OneContainer,
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
