import { randomBytes } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import type { ContainerPlan } from './container.ts'
import type { ContainerEvent } from './conversation.ts'
import { DOOR } from './layout.ts'
import type { Order, Part, Served } from './messages.ts'
import { handOver, type OneContainer, runContainer } from './one-container.ts'

/**
 * Runs a job as a driver and executors, each in a container of its own. None has a network: the
 * launchers of executors reach the driver's by a socket in a folder that only these containers have,
 * and what instances say to each other goes that way, under the run's secret.
 * @param container - What it would be alone.
 * @param door - A folder of the host's for that socket; it is made.
 * @throws what running the driver's container throws; what the last executor was lost by
 */
export async function runTogether(
  container: OneContainer,
  executors: number,
  door: string,
): Promise<Served> {
  await mkdir(door, { mode: 0o700 })
  await handOver(container.engine, container.plan.user, [door])
  // Whoever is asked about the key service's log is asked once.
  let verified: Promise<void> | undefined
  const onVerified = () => {
    verified ??= container.onVerified?.() ?? Promise.resolve()
    return verified
  }
  const [lost, over] = [new AbortController(), new AbortController()]
  const signal = AbortSignal.any([lost.signal, ...(container.signal ? [container.signal] : [])])
  const all = { ...container, onVerified }
  const driver = runContainer({
    ...partOf(all, { role: 'driver', executors }, { door, isWritable: true }),
    signal,
  })
  let failures = 0
  let last: unknown
  const served = Array.from({ length: executors }, async (_, index) => {
    try {
      await runContainer(executorOf(all, index + 1, door, over.signal))
    } catch (error) {
      if (over.signal.aborted) return
      tell(container.onEvent, index + 1, error)
      last = error
      failures += 1
      if (failures === executors) lost.abort()
    }
  })
  try {
    return await driver
  } catch (error) {
    throw lost.signal.aborted ? last : error
  } finally {
    over.abort()
    await Promise.all(served)
  }
}

/** A container with a part of a job. */
function partOf(
  container: OneContainer,
  part: Part,
  { door, isWritable }: { readonly door: string; readonly isWritable: boolean },
): OneContainer {
  const mounts = [...container.plan.mounts, { source: door, target: DOOR, isWritable }]
  return {
    ...container,
    order: withPart(container.order, part),
    plan: { ...container.plan, mounts },
  }
}

function withPart(order: Order, part: Part): Order {
  return order.in.tee === 'sgx' ? order : { ...order, in: { ...order.in, part } }
}

function executorOf(
  container: OneContainer,
  number: number,
  door: string,
  signal: AbortSignal,
): OneContainer {
  const id = randomBytes(16).toString('hex')
  const made = partOf(container, { role: 'executor', id }, { door, isWritable: false })
  const plan: Omit<ContainerPlan, 'argv'> = {
    ...{ ...made.plan, name: `${made.plan.name}-${number}`, hasInput: false },
  }
  return {
    ...{ ...made, plan, signal, passOnSignals: false, stdin: undefined },
    sockets: `${made.sockets}-${number}`,
    // The driver tells how they go.
    onEvent: event => {
      if (event.kind === 'container' || event.kind === 'warning') container.onEvent(event)
    },
    stdout: container.stderr ?? process.stderr,
  }
}

function tell(onEvent: (event: ContainerEvent) => void, number: number, error: unknown): void {
  const why = error instanceof Error ? error.message : String(error)
  const message = `the container of executor ${number} has ended: ${why}`
  onEvent({ kind: 'warning', code: 'EXECUTOR_LOST', message })
}
