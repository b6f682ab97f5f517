import { KmsError } from '../errors.ts'
import { type Hole, holds, longestValue } from './holes.ts'

/** A text of a job template, taken apart: literal text, and holes by name. */
export type TextPattern = readonly (string | { readonly hole: string })[]

const HOLE = /\$(?:\$|\{([^}]*)\})/g

/** What a hole that takes a run of characters may hold; a literal behind it begins with none of them. */
const RUN = /^[A-Za-z0-9_.-]/

/**
 * Takes a text with holes apart: `${name}` is a hole, `$$` stands for one `$`, and any other `$` for
 * itself. How a text matches is unambiguous: no hole follows another at once, and what follows a hole
 * that takes a run of characters can not be of that run.
 * @throws KmsError MALFORMED
 */
export function parseText(
  where: string,
  text: string,
  holes: Readonly<Record<string, Hole>>,
): TextPattern {
  const parts: (string | { readonly hole: string })[] = []
  const literal = (more: string) => {
    const last = parts.at(-1)
    if (typeof last === 'string') parts[parts.length - 1] = last + more
    else if (more !== '') parts.push(more)
  }
  let from = 0
  for (const found of text.matchAll(HOLE)) {
    literal(text.slice(from, found.index))
    from = found.index + found[0].length
    const [, name] = found
    if (name === undefined) literal('$')
    else parts.push({ hole: declared(where, name, holes) })
  }
  literal(text.slice(from))
  for (const [index, part] of parts.entries()) {
    if (typeof part === 'string') continue
    const next = parts[index + 1]
    if (next === undefined) continue
    if (typeof next !== 'string') throw malformed(where, `hole ${part.hole} is followed by a hole`)
    if (holes[part.hole]?.kind !== 'oneOf' && RUN.test(next)) {
      const what = `what follows hole ${part.hole} could be a part of it`
      throw malformed(where, `${what}: ${JSON.stringify(next.slice(0, 1))}`)
    }
  }
  return parts
}

/**
 * Whether a text is what a pattern says.
 * @param values - What holes of that name held so far; a hole holds the same everywhere.
 */
export function matchesText(
  pattern: TextPattern,
  text: string,
  holes: Readonly<Record<string, Hole>>,
  values: Map<string, string>,
): boolean {
  let at = 0
  for (const part of pattern) {
    if (typeof part === 'string') {
      if (!text.startsWith(part, at)) return false
      at += part.length
      continue
    }
    const hole = holes[part.hole]
    const held = hole === undefined ? undefined : longestValue(hole, text, at)
    if (hole === undefined || held === undefined || !holds(hole, held)) return false
    if ((values.get(part.hole) ?? held) !== held) return false
    values.set(part.hole, held)
    at += held.length
  }
  return at === text.length
}

function declared(where: string, name: string, holes: Readonly<Record<string, Hole>>): string {
  if (Object.hasOwn(holes, name)) return name
  throw malformed(
    where,
    `hole ${JSON.stringify(name.slice(0, 64))} is not declared; $$ is a plain $`,
  )
}

function malformed(where: string, what: string): KmsError {
  return new KmsError('MALFORMED', `job template at ${where}: ${what}`)
}
