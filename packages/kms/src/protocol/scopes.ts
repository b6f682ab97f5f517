/**
 * What a credential may be allowed, by groups of verbs. A credential has some of them; an act needs
 * one, and an act of which nobody said which needs all.
 */
export const SCOPES = [
  'keys:read',
  'keys:use',
  'keys:manage',
  'policies:read',
  'policies:manage',
  'datasets:read',
  'datasets:write',
  'audit:read',
  'credentials:manage',
  'accounts:read',
  'accounts:manage',
] as const

/** One of {@link SCOPES}. */
export type Scope = (typeof SCOPES)[number]

/** What an owner may let another account do with a key; as the audit log names it. */
export const GRANTABLE_ACTS = [
  'wrap',
  'unwrap',
  'rewrap',
  'encrypt',
  'decrypt',
  'generate-data-key',
  'sign',
  'verify',
  'get-public-key',
] as const

/** Tells a scope from any other text. */
export function isScope(text: string): text is Scope {
  return SCOPES.some(scope => scope === text)
}
