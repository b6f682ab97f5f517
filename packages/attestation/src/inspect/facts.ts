import { hexOf } from '../bytes/text.ts'
/** What can be said of an input: names and values, in the order in which people want to read them. */
export type Facts = { readonly [name: string]: Fact }

/** One value, or more facts. */
export type Fact = string | number | boolean | readonly string[] | Facts | readonly Facts[]

/** Lower-case hexadecimal digits; `zero` where all bytes are. */
export function hexFact(bytes: Uint8Array): string {
  return bytes.length > 0 && bytes.every(byte => byte === 0)
    ? `zero (${bytes.length} bytes)`
    : hexOf(bytes)
}

/** Seconds of an instant, in UTC. */
export function dateFact(date: Date): string {
  return date.toISOString().replace('.000Z', 'Z')
}

/** A number of flags: hexadecimal, then the names of the bits that are set. */
export function flagsFact(value: bigint, bits: Readonly<Record<string, bigint>>): string {
  const names = Object.entries(bits).flatMap(([name, bit]) => ((value & bit) === 0n ? [] : [name]))
  return `0x${value.toString(16)}${names.length === 0 ? '' : ` (${names.join(', ')})`}`
}

/** Facts without those that are not there. */
export function factsOf(facts: { readonly [name: string]: Fact | undefined }): Facts {
  const present = Object.entries(facts).filter(
    (entry): entry is [string, Fact] => entry[1] !== undefined,
  )
  return Object.fromEntries(present)
}
