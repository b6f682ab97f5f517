import type { DenialCode } from '../reasons.ts'
import type { Asked } from '../request.ts'

/** What does not hold of a condition: what was wanted, and what was there. */
export interface Unmet {
  /** Where it is another than the condition's own. */
  readonly code?: DenialCode
  readonly wanted: string
  readonly seen: string
}

/** One condition of a policy: as Cedar decides it, and as a denial explains it. */
export interface Condition {
  readonly code: DenialCode
  /** What the condition is about, for people. */
  readonly subject: string
  /** A Cedar expression; of the action alone it stands in the policy's head. */
  readonly cedar: string | undefined
  /** What does not hold for a request; undefined where the condition does. */
  readonly unmet: (asked: Asked) => Unmet | undefined
}

/** Every value comes from a closed list or a pattern, and needs no escapes. */
export const quoted = (value: string): string => {
  if (!/^[A-Za-z0-9-]+$/.test(value)) throw new RangeError('the value would need escapes')
  return `"${value}"`
}

/** That an attribute is one of some values. */
export const oneOf = (values: readonly string[], attribute: string): string => {
  const [only, ...others] = values
  return only !== undefined && others.length === 0
    ? `${attribute} == ${quoted(only)}`
    : `[${values.map(quoted).join(', ')}].contains(${attribute})`
}

/** A condition that a value is one of some. */
export function listCondition(
  code: DenialCode,
  subject: string,
  attribute: string,
  values: readonly string[],
  seen: (asked: Asked) => string,
): Condition {
  return {
    code,
    subject,
    cedar: oneOf(values, attribute),
    unmet: asked =>
      values.includes(seen(asked)) ? undefined : { wanted: values.join(', '), seen: seen(asked) },
  }
}
