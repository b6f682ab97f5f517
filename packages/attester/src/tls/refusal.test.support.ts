import { AttestedTlsError } from '../errors.ts'

/** The code that an attempt is refused with; throws where it is believed, or fails otherwise. */
export async function refusalOf(attempt: Promise<unknown>): Promise<string> {
  const error: unknown = await attempt.then(
    () => 'believed',
    (reason: unknown) => reason,
  )
  if (!(error instanceof AttestedTlsError)) throw error
  return error.code
}
