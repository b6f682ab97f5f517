import module from 'canonicalize'

// A CommonJS function whose type declarations describe an ES module's default export.
const canonicalize = module as unknown as (value: unknown) => string | undefined

const LONE_SURROGATE = /\p{Surrogate}/u

/**
 * The one way to write a value as JSON.
 * @throws TypeError where the value is not JSON, or a string in it is no well-formed Unicode
 * @see RFC 8785
 */
export function canonicalJson(value: unknown): string {
  const text = canonicalize(value)
  if (text === undefined) throw new TypeError('the value is not JSON')
  // JSON escapes half a surrogate pair, and nothing else so: few texts need a closer look.
  if (text.includes('\\ud')) requireWellFormed(value)
  return text
}

function requireWellFormed(value: unknown): void {
  JSON.stringify(value, (key: string, member: unknown) => {
    if (LONE_SURROGATE.test(key) || (typeof member === 'string' && LONE_SURROGATE.test(member))) {
      throw new TypeError('a string is no well-formed Unicode')
    }
    return member
  })
}

/** {@link canonicalJson} as UTF-8. */
export function canonicalJsonBytes(value: unknown): Uint8Array {
  return new TextEncoder().encode(canonicalJson(value))
}
