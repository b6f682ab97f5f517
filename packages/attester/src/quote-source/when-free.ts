import { setTimeout as delay } from 'node:timers/promises'
import { QuoteSourceError } from '../errors.ts'
import { errnoOf } from './device-files.ts'

/** A TDX guest's quote takes a second or more, as the kernel looks for it once a second. */
const PAUSES_MS = [50, 100, 200, 400, 800, 1600] as const

/**
 * Tries again while the platform is busy, as it may be with another's report, for three seconds.
 * @throws QuoteSourceError BUSY
 */
export async function whenFree<T>(act: () => Promise<T>): Promise<T> {
  for (const pause of PAUSES_MS) {
    try {
      return await act()
    } catch (cause) {
      if (!isBusy(cause)) throw cause
      await delay(pause)
    }
  }
  return await act().catch((cause: unknown) => {
    if (!isBusy(cause)) throw cause
    throw new QuoteSourceError('BUSY', `busy at each of ${PAUSES_MS.length + 1} tries`, { cause })
  })
}

function isBusy(cause: unknown): boolean {
  return ['EBUSY', 'EAGAIN', 'EWOULDBLOCK', 'EINTR'].includes(errnoOf(cause))
}
