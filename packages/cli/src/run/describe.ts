import type { LaunchEvent } from '@cloister/enclave'

/** What happens on the way, in lines for people. Other hosts say some of it. */
export function describe(event: LaunchEvent): readonly string[] {
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
    case 'run':
      return [`run ${event.runId}`]
    case 'executor':
      return [`${event.name}: ${whatOf(event)}`]
    case 'listening':
      return [
        `hosts call in at ${event.address}: cloister executor JOB --driver ${event.address}, on each`,
      ]
    case 'waiting':
      return [`waiting for ${event.message}`]
    case 'warning':
      return [`warning: ${event.message}`]
  }
}

function whatOf(event: Extract<LaunchEvent, { kind: 'executor' }>): string {
  if ('step' in event) return event.step
  return 'pid' in event ? `process ${event.pid}` : `on ${event.host}`
}
