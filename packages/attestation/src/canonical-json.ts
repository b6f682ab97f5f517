/** What {@link canonicalJson} writes. */
export type Json = string | number | boolean | readonly Json[] | { readonly [name: string]: Json }

/**
 * Canonical JSON: no white space, members sorted by their names' UTF-16 code units. For
 * well-formed texts and finite numbers this is RFC 8785.
 */
export function canonicalJson(value: Json): string {
  if (typeof value !== 'object') return JSON.stringify(value)
  if (isArray(value)) return `[${value.map(canonicalJson).join(',')}]`
  const members = Object.entries(value)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, member]) => `${JSON.stringify(name)}:${canonicalJson(member)}`)
  return `{${members.join(',')}}`
}

/** `Array.isArray` does not narrow a readonly array. */
function isArray(value: Json): value is readonly Json[] {
  return Array.isArray(value)
}
