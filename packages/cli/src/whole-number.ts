import { UsageError } from './usage-error.ts'

/** A flag's whole number. @throws UsageError */
export function wholeNumber(flag: string, text: string, min: number, max: number): number {
  const number = /^[0-9]{1,15}$/.test(text) ? Number(text) : Number.NaN
  if (number >= min && number <= max) return number
  throw new UsageError(
    `${flag}: wanted a whole number from ${min} to ${max}, saw ${text}`,
    'give another',
  )
}
