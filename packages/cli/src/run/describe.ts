import type { ContainerEvent } from '@cloister/cluster/docker'
import type { LaunchEvent } from '@cloister/enclave'

/** What happens on the way, in lines for people. Other hosts say some of it. */
export function describe(event: ContainerEvent): readonly string[] {
  switch (event.kind) {
    case 'container':
      return containerLines(event)
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
      return [`${event.name}: ${whatOf(event)}`]
    case 'listening':
      return [
        `hosts call in at ${event.address}: cloister executor JOB --driver ${reachable(event.address)}, on each`,
      ]
    case 'waiting':
      return [`waiting for ${event.message}`]
    case 'warning':
      return [`warning: ${event.message}`]
  }
}

/** Where others call what listens at all addresses of this machine, which is nobody's address. */
function reachable(address: string): string {
  return address.replace(/^(0\.0\.0\.0|\[::\])(?=:)/, 'HOST')
}

function whatOf(event: Extract<LaunchEvent, { kind: 'executor' }>): string {
  if ('step' in event) return event.step
  return 'pid' in event ? `process ${event.pid}` : `on ${event.host}`
}

/** What a sandbox in a container takes; whoever breaks out of it finds less shut for that. */
const SANDBOX_TAKES =
  'for the sandbox in it: namespaces and mounts allowed, /proc not covered, no AppArmor profile'

function containerLines({
  name,
  image,
  network,
  inside,
}: Extract<ContainerEvent, { kind: 'container' }>): readonly string[] {
  const reaches = network === 'none' ? 'without a network' : `network ${network ?? 'of the engine'}`
  const line = `container ${name} of image ${image.slice(0, 12)}, ${reaches}`
  return inside === 'sandbox' ? [line, SANDBOX_TAKES] : [line]
}
