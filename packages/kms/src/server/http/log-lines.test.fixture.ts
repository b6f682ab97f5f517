import { expect } from 'vitest'

/** Members of answers whose values are secrets. */
const SECRET_MEMBERS = new Set([
  'apikey',
  'credential',
  'dek',
  'importToken',
  'plaintext',
  'secretData',
  'statement',
  'text',
  'token',
])

/** The secrets that an answer gives. */
export function secretsIn(answer: unknown): readonly string[] {
  if (typeof answer !== 'object' || answer === null) return []
  return Object.entries(answer).flatMap(([name, value]) => {
    const isSecret = SECRET_MEMBERS.has(name) && typeof value === 'string' && value.length >= 16
    return isSecret ? [value] : secretsIn(value)
  })
}

/**
 * Expects lines of the log to be JSON, and to have no secret in them: none of those known, and nothing
 * that could be one by its form.
 * @param kmsId - The one long text that is no secret
 */
export function expectNoSecret(
  lines: readonly string[],
  secrets: Iterable<string>,
  kmsId: string,
): void {
  const all = lines.join('\n')
  for (const secret of secrets) expect(all.includes(secret), 'a secret is in the log').toBe(false)
  for (const line of lines) {
    expect(JSON.parse(line)).toMatchObject({ event: expect.any(String), at: expect.any(String) })
    const long = line.replaceAll(kmsId, '').match(/[\w+=-]{37,}/g) ?? []
    expect(long, line).toEqual([])
  }
}
