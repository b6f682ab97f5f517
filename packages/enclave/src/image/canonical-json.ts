import module from 'canonicalize'

// A CommonJS function whose type declarations describe an ES module's default export.
const canonicalize = module as unknown as (value: unknown) => string | undefined

/** The one way to write a value as JSON, as UTF-8. @see RFC 8785 */
export function canonicalJson(value: unknown): Uint8Array {
  return new TextEncoder().encode(canonicalize(value))
}
