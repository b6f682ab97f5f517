import { UsageError } from '../usage-error.ts'

/** Collects an option that may be given several times. */
export const several = (value: string, before: readonly string[] = []): readonly string[] => [
  ...before,
  value,
]

/** `name=value` pairs as an object. @throws UsageError */
export function pairsFrom(flag: string, pairs: readonly string[]): Record<string, string> {
  const entries = pairs.map(pair => {
    const at = pair.indexOf('=')
    if (at > 0) return [pair.slice(0, at), pair.slice(at + 1)] as const
    throw new UsageError(`${flag}: wanted name=value, saw ${pair}`, `give ${flag} name=value`)
  })
  const twice = entries.find(([name], index) => entries.findIndex(([n]) => n === name) !== index)
  if (twice === undefined) return Object.fromEntries(entries)
  throw new UsageError(`${flag}: ${twice[0]} is given twice`, 'give each name once')
}

/** A whole number within limits. @throws UsageError */
export function wholeNumber(flag: string, text: string, least: number, most: number): number {
  const number = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN
  if (number >= least && number <= most) return number
  throw new UsageError(`${flag}: wanted ${least} to ${most}, saw ${text}`, 'give another number')
}

/** One of some words. @throws UsageError */
export function wordFrom<Word extends string>(
  flag: string,
  text: string,
  words: readonly Word[],
): Word {
  const found = words.find(word => word === text)
  if (found !== undefined) return found
  throw new UsageError(`${flag}: wanted ${words.join(', ')}; saw ${text}`, 'give one of these')
}
