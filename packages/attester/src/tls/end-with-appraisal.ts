import type { Socket } from 'node:net'
import type { TrustedAppraisal } from '@cloister/attestation'
import { AttestedTlsError } from '../errors.ts'

/** How often the clock is asked: timers stand still while a machine sleeps. */
const LOOK_MS = 60_000

/**
 * Ends a connection when what its other side was appraised with ends: by the clock, or by the time
 * that has passed since the appraisal, should the clock be put back, or fail.
 */
export function endWithAppraisal(
  socket: Socket,
  { evidence, goodUntil }: TrustedAppraisal,
  now: () => Date,
): void {
  const leftAt = (at: Date) => goodUntil.getTime() - at.getTime()
  const end = performance.now() + leftAt(evidence.verifiedAt)
  let timer: NodeJS.Timeout | undefined
  const look = () => {
    const left = Math.min(end - performance.now(), leftAt(read(now)))
    if (left > 0) {
      timer = setTimeout(look, Math.min(left, LOOK_MS)).unref()
      return
    }
    const ended = `what the other side was appraised with ended at ${goodUntil.toISOString()}`
    socket.destroy(new AttestedTlsError('EXPIRED', ended))
  }
  socket.once('close', () => clearTimeout(timer))
  look()
}

/** A clock that cannot be read says that everything has ended. */
function read(now: () => Date): Date {
  try {
    return now()
  } catch {
    return new Date(8.64e15)
  }
}
