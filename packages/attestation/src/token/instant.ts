import { TokenError } from './errors.ts'

/** Longest life of a token, in seconds: 15 minutes. */
export const MAX_TOKEN_LIFETIME_SECONDS = 15 * 60

/** Whole seconds since 1970. @throws TokenError TIME */
export function secondsOf(at: Date): number {
  const seconds = Math.floor(at.getTime() / 1000)
  if (Number.isNaN(seconds)) throw new TokenError('TIME', 'the instant is none')
  return seconds
}
