import { type Static, Type } from '@sinclair/typebox'
import { KmsError } from '../errors.ts'

const strict = { additionalProperties: false } as const
const SAFE = Number.MAX_SAFE_INTEGER
const day = Type.String({ pattern: '^\\d{4}-\\d{2}-\\d{2}$' })

/** What a hole of a job template may hold: a closed list of kinds, none of which can hold a quote. */
export const holeSchema = Type.Union([
  Type.Object(
    {
      kind: Type.Literal('integer'),
      min: Type.Integer({ minimum: -SAFE, maximum: SAFE }),
      max: Type.Integer({ minimum: -SAFE, maximum: SAFE }),
    },
    strict,
  ),
  Type.Object({ kind: Type.Literal('date'), from: day, to: day }, strict),
  /** Letters and digits of ASCII, `_`, `.` and `-`. */
  Type.Object(
    { kind: Type.Literal('word'), maxLength: Type.Integer({ minimum: 1, maximum: 128 }) },
    strict,
  ),
  Type.Object(
    {
      kind: Type.Literal('oneOf'),
      values: Type.Array(Type.String({ minLength: 1, maxLength: 1024 }), {
        minItems: 1,
        maxItems: 64,
        uniqueItems: true,
      }),
    },
    strict,
  ),
])

/** A hole of a job template. */
export type Hole = Static<typeof holeSchema>

const INTEGER = /^(0|-?[1-9]\d{0,15})$/
const RUN = /[A-Za-z0-9_.-]*/y

/** Checks what a schema cannot say. @throws KmsError MALFORMED */
export function assertHole(name: string, hole: Hole): void {
  const isEmpty =
    (hole.kind === 'integer' && hole.min > hole.max) ||
    (hole.kind === 'date' && !(isDay(hole.from) && isDay(hole.to) && hole.from <= hole.to))
  if (isEmpty) throw new KmsError('MALFORMED', `job template: hole ${name} can hold nothing`)
}

/** What a hole takes from a text at a place: as much as it can. Undefined where it fits nothing. */
export function longestValue(hole: Hole, text: string, at: number): string | undefined {
  if (hole.kind === 'oneOf') {
    const fitting = hole.values.filter(value => text.startsWith(value, at))
    return fitting.reduce<string | undefined>(
      (longest, value) => (value.length > (longest?.length ?? 0) ? value : longest),
      undefined,
    )
  }
  RUN.lastIndex = at
  const run = RUN.exec(text)?.[0] ?? ''
  return run === '' ? undefined : run
}

/** Whether a hole may hold a text. */
export function holds(hole: Hole, text: string): boolean {
  switch (hole.kind) {
    case 'integer':
      return INTEGER.test(text) && Number(text) >= hole.min && Number(text) <= hole.max
    case 'date':
      return isDay(text) && text >= hole.from && text <= hole.to
    case 'word':
      return text.length <= hole.maxLength
    case 'oneOf':
      return hole.values.includes(text)
  }
}

/** A day of the calendar, as ISO 8601 writes it. */
function isDay(text: string): boolean {
  if (!/^\d{4}-\d{2}-\d{2}$/.test(text)) return false
  const at = new Date(`${text}T00:00:00Z`)
  return !Number.isNaN(at.getTime()) && at.toISOString().startsWith(text)
}
