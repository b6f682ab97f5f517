import { AttestedTlsError } from '../errors.ts'

/** Waits for work until a deadline. @throws AttestedTlsError TIMEOUT, and whatever the work does */
export async function inTime<T>(work: Promise<T>, deadline: AbortSignal): Promise<T> {
  // Whatever it comes to after the deadline, nobody waits for it any more.
  work.catch(() => {})
  let stop = () => {}
  const late = new Promise<never>((_, reject) => {
    stop = () => reject(new AttestedTlsError('TIMEOUT', 'the connection was not made in time'))
    deadline.addEventListener('abort', stop, { once: true })
    if (deadline.aborted) stop()
  })
  try {
    return await Promise.race([work, late])
  } finally {
    deadline.removeEventListener('abort', stop)
  }
}
