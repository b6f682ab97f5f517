import { setTimeout as delay } from 'node:timers/promises'
import { QuoteSourceError } from '../errors.ts'
import { errnoOf } from './device-files.ts'

const TRIES = 10
const PAUSE_MS = 50

/** Tries again while the platform is busy, which it may be with another's report. */
export async function whenFree<T>(act: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await act()
    } catch (cause) {
      if (!['EBUSY', 'EAGAIN', 'EWOULDBLOCK', 'EINTR'].includes(errnoOf(cause))) throw cause
      if (tries === TRIES) {
        throw new QuoteSourceError('BUSY', `busy at each of ${TRIES} tries`, { cause })
      }
      await delay(PAUSE_MS)
    }
  }
}
