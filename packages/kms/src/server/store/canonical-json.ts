import module from 'canonicalize'

// A CommonJS function whose type declarations describe an ES module's default export.
const canonicalize = module as unknown as (value: unknown) => string | undefined

/** What JSON can say. */
export type JsonValue =
  | string
  | number
  | boolean
  | null
  | readonly JsonValue[]
  | { readonly [name: string]: JsonValue }

/**
 * Encodes a value as RFC 8785 canonical JSON.
 * @throws TypeError where the value is not JSON
 */
export function canonicalJson(value: JsonValue): string {
  const text = canonicalize(value)
  if (text === undefined) throw new TypeError('the value is not JSON')
  return text
}
