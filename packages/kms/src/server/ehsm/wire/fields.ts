import { refused } from './refusal.ts'

/** Reads one field of a payload; undefined is what an absent one has. @throws EhsmRefusal */
export type Rule<T> = (name: string, value: unknown) => T

/** What fields an action reads. */
export type Rules = Readonly<Record<string, Rule<unknown>>>

/** The fields that rules read. */
export type Fields<R extends Rules> = {
  readonly [Name in keyof R]: R[Name] extends Rule<infer T> ? T : never
}

/** Reads a payload's fields in the order of the rules; what no rule names is passed over. */
export function parseFields<R extends Rules>(
  rules: R,
  payload: Readonly<Record<string, unknown>>,
): Fields<R> {
  const fields: Record<string, unknown> = {}
  for (const name in rules) {
    const value = Object.hasOwn(payload, name) ? payload[name] : undefined
    fields[name] = rules[name]?.(name, value === '' || value === null ? undefined : value)
  }
  // Each name of the rules has what its rule gave.
  return fields as Fields<R>
}

const invalid = (name: string, what: string) => refused(`Parameter invalid, The ${name} ${what}`)

/** A field that may be left out. */
export function optional<T>(rule: Rule<T>): Rule<T | undefined> {
  return (name, value) => (value === undefined ? undefined : rule(name, value))
}

/** Halves of characters have no bytes in UTF-8, and no database's text holds a NUL. */
const HALVES = /\p{Surrogate}/u
const UNSTORABLE = /[\0\p{Surrogate}]/u

/** Text of so many UTF-16 code units, of a pattern where one is given. */
export function text(min: number, max: number, pattern?: RegExp): Rule<string> {
  return textWithout(UNSTORABLE, min, max, pattern)
}

/** Text that is stored encrypted, as bytes: there may be a NUL in it. */
export function sealedText(min: number, max: number): Rule<string> {
  return textWithout(HALVES, min, max)
}

function textWithout(excluded: RegExp, min: number, max: number, pattern?: RegExp): Rule<string> {
  return (name, value) => {
    if (value === undefined) {
      throw refused(`Missing required parameters, The ${name} cannot be empty.`)
    }
    if (typeof value !== 'string') throw invalid(name, 'must be of string type.')
    if (value.length < min || value.length > max) throw invalid(name, 'length error.')
    if (excluded.test(value)) throw invalid(name, 'format wrong.')
    if (pattern !== undefined && !pattern.test(value)) throw invalid(name, 'format wrong.')
    return value
  }
}

const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/

/** Base64 of so many characters, left as it is. */
export function base64Text(min: number, max: number): Rule<string> {
  const rule = text(min, max)
  return (name, value) => {
    const encoded = rule(name, value)
    if (encoded.length % 4 === 0 && BASE64.test(encoded)) return encoded
    throw invalid(name, 'not a vailed base64 string.')
  }
}

/** The bytes of base64 of so many characters. */
export function base64(min: number, max: number): Rule<Uint8Array> {
  const rule = base64Text(min, max)
  return (name, value) => Buffer.from(rule(name, value), 'base64')
}

/** A whole number of JSON. */
export function integer(min: number, max: number): Rule<number> {
  return (name, value) => {
    if (value === undefined) {
      throw refused(`Missing required parameters, The ${name} cannot be empty.`)
    }
    if (typeof value !== 'number' || !Number.isInteger(value)) {
      throw invalid(name, 'must be of integer type.')
    }
    if (value > max) throw invalid(name, `value must be less than or equal to ${max}.`)
    if (value < min) throw invalid(name, `value must be greater than or equal to ${min}.`)
    return value
  }
}

/** One of the names in a table, as what the table has for it. */
export function oneOf<T>(values: Readonly<Record<string, T>>): Rule<T> {
  const table = new Map(Object.entries(values))
  return (name, value) => {
    if (value === undefined) {
      throw refused(`Missing required parameters, The ${name} cannot be empty.`)
    }
    if (typeof value !== 'string') throw invalid(name, 'must be of string type.')
    const found = table.get(value)
    if (found === undefined) throw invalid(name, 'type is incorrect.')
    return found
  }
}

/** Id of a key or a policy. */
export const uuid = text(36, 36, /^[0-9a-z]{8}-[0-9a-z]{4}-[0-9a-z]{4}-[0-9a-z]{4}-[0-9a-z]{12}$/)

/** Associated data; none where left out. */
export const associatedData: Rule<Uint8Array> = (name, value) =>
  value === undefined ? NONE : anyBase64(name, value)

const NONE = new Uint8Array(0)
const anyBase64 = base64(0, 8192)
