import { type Static, type TLiteral, type TSchema, type TUnion, Type } from '@sinclair/typebox'
import { type TypeCheck, TypeCompiler, type ValueError } from '@sinclair/typebox/compiler'
import { KmsError } from './errors.ts'

/** An object of exactly these members. */
export const object = <T extends Record<string, TSchema>>(properties: T) =>
  Type.Object(properties, { additionalProperties: false })

/** A value, or null. */
export const nullable = <T extends TSchema>(schema: T) => Type.Union([schema, Type.Null()])

/** One of some words. */
export function oneOf<const T extends readonly string[]>(words: T): TUnion<TLiteral<T[number]>[]> {
  return Type.Union(words.map((word: T[number]) => Type.Literal(word)))
}

/** Base64url text without padding. */
export const base64Url = (maxLength: number) =>
  Type.String({ pattern: '^[A-Za-z0-9_-]+$', maxLength })

/** Dataset or file id: 32 lower-case hexadecimal digits. */
export const hexId = Type.String({ pattern: '^[0-9a-f]{32}$' })

/** SHA-256 digest: 64 lower-case hexadecimal digits. */
export const hexDigest = Type.String({ pattern: '^[0-9a-f]{64}$' })

/** Id of a customer master key: a UUID in lower case. */
export const cmkId = Type.String({
  pattern: '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$',
})

/** SubjectPublicKeyInfo of a P-256 key, uncompressed: 91 bytes in base64url. */
export const spki = Type.String({ pattern: '^[A-Za-z0-9_-]{122}$' })

/** Compact JWS or JWE. */
export const compact = (maxLength: number) =>
  Type.String({ pattern: '^[A-Za-z0-9_.-]+$', maxLength })

/** An instant, ISO 8601 in UTC with milliseconds. */
export const instant = Type.String({
  pattern: '^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}\\.\\d{3}Z$',
})

const checkers = new WeakMap<TSchema, TypeCheck<TSchema>>()

/** Schemas are few and of our own; compiled they check in a hundredth of the time. */
function checkerOf<T extends TSchema>(schema: T): TypeCheck<T> {
  // Kept below under the very schema that it was made of.
  const known = checkers.get(schema) as TypeCheck<T> | undefined
  if (known !== undefined) return known
  const checker = TypeCompiler.Compile(schema)
  checkers.set(schema, checker)
  return checker
}

/**
 * Checks a value against a schema.
 * @param what - Name of the whole, for the message.
 * @throws KmsError MALFORMED, naming the first place that does not fit, or where a text is no
 * well-formed Unicode: it could be neither stored nor written to the audit log as it is
 */
export function parseAs<T extends TSchema>(what: string, schema: T, value: unknown): Static<T> {
  const checker = checkerOf(schema)
  if (checker.Check(value)) {
    if (isWellFormed(value)) return value
    throw new KmsError('MALFORMED', `${what}: a text in it is no well-formed Unicode`)
  }
  const found = checker.Errors(value).First()
  const first = found === undefined ? undefined : insideUnion(found)
  throw new KmsError(
    'MALFORMED',
    `${what}${first === undefined ? '' : ` at ${first.path || '/'}: ${first.message}`}`,
  )
}

const LONE_SURROGATE = /\p{Surrogate}/u

/** Whether every text in a value, names of members among them, is well-formed Unicode. */
function isWellFormed(value: unknown): boolean {
  if (typeof value === 'string') return !LONE_SURROGATE.test(value)
  if (typeof value !== 'object' || value === null) return true
  if (Array.isArray(value)) return value.every(isWellFormed)
  return Object.entries(value).every(([name, member]) => isWellFormed(name) && isWellFormed(member))
}

/** What is wrong with a value of several forms: with the form that it is nearest to. */
function insideUnion(error: ValueError): ValueError {
  const forms = error.errors.map(form => [...form])
  const [nearest] = forms.sort((one, other) => one.length - other.length)
  const [first] = nearest ?? []
  return first === undefined || first.path.length <= error.path.length ? error : insideUnion(first)
}
