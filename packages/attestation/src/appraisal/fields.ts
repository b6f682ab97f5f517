import { CodedError } from '../errors.ts'
import { readInstant } from '../instant.ts'

/** A policy that cannot be one; the message names the place, what was wanted and what was seen. */
export class AppraisalPolicyError extends CodedError<'POLICY'> {
  /** Where in the policy, as `enclaves[0].mrSigner`; empty for the whole. */
  readonly path: string

  /**
   * @param path - Where in the policy.
   * @param problem - What was wanted and what was seen.
   */
  constructor(path: string, problem: string) {
    super('POLICY', path === '' ? `policy: ${problem}` : `${path}: ${problem}`)
    this.path = path
  }
}

/** Reads one value, which stands at `path`. */
export type ReadValue<Value> = (value: unknown, path: string) => Value

/** Takes the members of an object one by one; any that nobody took is refused. */
export class PolicyFields {
  readonly #members: ReadonlyMap<string, unknown>
  readonly #path: string
  readonly #taken = new Set<string>()

  constructor(value: unknown, path: string) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw new AppraisalPolicyError(path, `wanted members, saw ${shown(value)}`)
    }
    this.#members = new Map(Object.entries(value))
    this.#path = path
  }

  /** A member that must be there. */
  required<Value>(name: string, read: ReadValue<Value>): Value {
    const value = this.optional(name, read)
    if (value === undefined) throw new AppraisalPolicyError(this.#at(name), 'is missing')
    return value
  }

  /** A member that may be left out. */
  optional<Value>(name: string, read: ReadValue<Value>): Value | undefined {
    this.#taken.add(name)
    const value = this.#members.get(name)
    return value === undefined ? undefined : read(value, this.#at(name))
  }

  /** The members that are there, of those that may be: absent ones are absent in the result. */
  present<Readers extends Readonly<Record<string, ReadValue<unknown>>>>(
    readers: Readers,
  ): { readonly [Name in keyof Readers]?: ReturnType<Readers[Name]> } {
    const found = Object.entries(readers).flatMap(([name, read]) => {
      const value = this.optional(name, read)
      return value === undefined ? [] : [[name, value]]
    })
    return Object.fromEntries(found)
  }

  /** Refuses members nobody took. */
  done(): void {
    const unknown = [...this.#members.keys()].find(name => !this.#taken.has(name))
    if (unknown === undefined) return
    const known = [...this.#taken].join(', ')
    throw new AppraisalPolicyError(this.#at(unknown), `is unknown; known here are ${known}`)
  }

  #at(name: string): string {
    return this.#path === '' ? name : `${this.#path}.${name}`
  }
}

/** A list, each of whose members is read. */
export function listOf<Value>(read: ReadValue<Value>): ReadValue<readonly Value[]> {
  return (value, path) => {
    if (!Array.isArray(value)) throw wanted(path, 'a list', value)
    const members: readonly unknown[] = value
    return members.map((member, index) => read(member, `${path}[${index}]`))
  }
}

/** One of some names. */
export function oneOf<Name extends string>(names: readonly Name[]): ReadValue<Name> {
  return (value, path) => {
    const found = names.find(name => name === value)
    if (found === undefined) throw wanted(path, names.join(', '), value)
    return found
  }
}

/** Bytes in hexadecimal of either case, given in lower case. */
export function hexDigits(...sizes: readonly number[]): ReadValue<string> {
  return (value, path) => {
    const fits =
      typeof value === 'string' &&
      /^[0-9a-fA-F]*$/.test(value) &&
      sizes.some(size => value.length === size * 2)
    if (!fits) throw wanted(path, `${sizes.map(size => size * 2).join(' or ')} hex digits`, value)
    return value.toLowerCase()
  }
}

/** An integer from 0 to `max`. */
export function integerTo(max: number): ReadValue<number> {
  return (value, path) => {
    if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > max) {
      throw wanted(path, `an integer from 0 to ${max}`, value)
    }
    return value
  }
}

/** true or false. */
export const flag: ReadValue<boolean> = (value, path) => {
  if (typeof value !== 'boolean') throw wanted(path, 'true or false', value)
  return value
}

/** An instant of ISO 8601 in UTC, or a day, which begins at midnight UTC; given in full. */
export const instant: ReadValue<string> = (value, path) => {
  const date = typeof value === 'string' ? readInstant(value) : undefined
  if (date === undefined) {
    throw wanted(path, 'a day such as 2025-08-13, or an instant in UTC', value)
  }
  return date.toISOString()
}

/** A security advisory, such as `INTEL-SA-00615`. */
export const advisory: ReadValue<string> = (value, path) => {
  if (typeof value !== 'string' || !/^[\x21-\x7e]{1,64}$/.test(value)) {
    throw wanted(path, 'an advisory such as INTEL-SA-00615', value)
  }
  return value
}

function wanted(path: string, what: string, value: unknown): AppraisalPolicyError {
  return new AppraisalPolicyError(path, `wanted ${what}, saw ${shown(value)}`)
}

function shown(value: unknown): string {
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'object' && value !== null) return 'members'
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value)
  return text.length > 80 ? `${text.slice(0, 80)}…` : text
}
