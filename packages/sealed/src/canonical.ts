import module from 'canonicalize'

/**
 * Encodes a JSON value in RFC 8785 canonical form.
 *
 * A CommonJS function whose type declarations describe an ES module's default export.
 */
export const canonicalize = module as unknown as (value: unknown) => string | undefined
